import type { MouseEvent, ReactNode } from "react";
import { navigate } from "../navigate";
import { t } from "../strings";

export function Header({ room }: { room?: string }) {
  return (
    <header className="header">
      <PageLink to={`/${location.search}`} className="brand" label={t("app.home")}>
        <svg className="brand-mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
          <rect width="32" height="32" rx="8" className="brand-ground" />
          <path d="M7 12.500 23.500 8l1.500 4.200L8.600 17z" className="brand-desk" />
          <path d="M16 15v8.500M11 24.500h10" className="brand-foot" />
        </svg>
        <span>{t("app.name")}</span>
      </PageLink>
      {room !== undefined && (
        <p className="header-room">
          <span className="header-room-label">{t("app.room")}</span> <bdi>{room}</bdi>
        </p>
      )}
    </header>
  );
}

/** A link inside the page; with a modifier key it stays the browser's own. */
export function PageLink(props: { to: string; className?: string; label?: string; children: ReactNode }) {
  const follow = (event: MouseEvent) => {
    if (event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      navigate(props.to);
    }
  };
  return (
    <a href={props.to} className={props.className} aria-label={props.label} onClick={follow}>
      {props.children}
    </a>
  );
}
