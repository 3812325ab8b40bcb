import { useEffect } from "react";
import { useAddress } from "./navigate";
import { HomePage } from "./page/home";
import { PublishPage } from "./page/publish";
import { UnknownPage } from "./page/unknown";
import { WatchPage } from "./page/watch";
import { TokenGate } from "./part/token-gate";
import { parseRoute, tokenFrom } from "./route";
import { t } from "./strings";

export function App() {
  const address = useAddress();
  const route = parseRoute(address.path);
  const token = tokenFrom(address.fragment);

  useEffect(() => {
    const name = t("app.name");
    document.title =
      route.page === "publish"
        ? `${t("publish.title")}: ${route.room} – ${name}`
        : route.page === "watch"
          ? `${t("watch.title")}: ${route.room} – ${name}`
          : name;
  });

  switch (route.page) {
    case "home":
      return <HomePage />;
    case "publish":
      return (
        <TokenGate key={address.path} page="publish" room={route.room} token={token}>
          {(granted) => <PublishPage key={granted} room={route.room} token={granted} />}
        </TokenGate>
      );
    case "watch":
      return (
        <TokenGate key={address.path} page="watch" room={route.room} token={token}>
          {(granted) => <WatchPage key={granted} room={route.room} token={granted} />}
        </TokenGate>
      );
    case "unknown":
      return <UnknownPage />;
  }
}
