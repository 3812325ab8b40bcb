import { locale, t } from "../strings";
import { Icon } from "./icon";

/** How many watch, as far as the node says. */
export function AudienceBadge({ viewers }: { viewers: number | null }) {
  if (viewers === null) {
    return null;
  }
  const count = new Intl.NumberFormat(locale().tag, { numberingSystem: "latn" }).format(viewers);
  const words = t("audience.count", { count });
  return (
    <span className="badge badge-audience" title={words}>
      <Icon name="people" />
      <span className="visually-hidden">{words}</span>
      <bdi className="badge-figure" aria-hidden="true">
        {count}
      </bdi>
    </span>
  );
}
