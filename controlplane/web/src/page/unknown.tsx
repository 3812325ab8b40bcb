import { Header, PageLink } from "../part/header";
import { t } from "../strings";

export function UnknownPage() {
  return (
    <>
      <Header />
      <main className="narrow">
        <h1>{t("unknown.title")}</h1>
        <p className="muted">{t("unknown.text")}</p>
        <p>
          <PageLink to={`/${location.search}`}>{t("unknown.home")}</PageLink>
        </p>
      </main>
    </>
  );
}
