import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app";
import { localeFor, setLocale } from "./strings";
import "./style/tokens.css";
import "./style/base.css";
import "./style/parts.css";
import "./style/pages.css";

const chosen = localeFor(location.search);
setLocale(chosen);
document.documentElement.lang = chosen.tag;
document.documentElement.dir = chosen.direction;

const page = document.getElementById("page");
if (page !== null) {
  createRoot(page).render(
    <StrictMode>
      <App />
    </StrictMode>,
  );
}
