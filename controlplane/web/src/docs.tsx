import { StrictMode, useEffect } from "react";
import { createRoot } from "react-dom/client";
import SwaggerUI from "swagger-ui-dist/swagger-ui-es-bundle";
import "swagger-ui-dist/swagger-ui.css";
import { useAddress } from "./navigate";
import { Header } from "./part/header";
import { localeFor, setLocale, t } from "./strings";
import "./style/tokens.css";
import "./style/base.css";
import "./style/parts.css";
import "./style/docs.css";

// The reference of the node's API: the node's own description, shown by Swagger UI, from this node alone.

const chosen = localeFor(location.search);
setLocale(chosen);
document.documentElement.lang = chosen.tag;
document.documentElement.dir = chosen.direction;
document.title = `${t("docs.title")} – ${t("app.name")}`;

// Swagger UI has a dark theme under a class; the rest of the page follows the media query by itself.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

/** The header's links lead to the other page of this node, which is another document. */
function Top() {
  const { path } = useAddress();
  useEffect(() => {
    if (path !== "/docs") {
      location.reload();
    }
  }, [path]);
  return <Header />;
}

const place = document.getElementById("top");
if (place !== null) {
  createRoot(place).render(
    <StrictMode>
      <Top />
    </StrictMode>,
  );
}

SwaggerUI({
  url: "/openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  // A token that was typed in stays in this tab and is gone with it.
  persistAuthorization: false,
  // The badge would ask a server elsewhere.
  validatorUrl: null,
});
