import { type FormEvent, useId, useState } from "react";
import { navigate } from "../navigate";
import { Header } from "../part/header";
import { Icon, type IconName } from "../part/icon";
import { isRoom, linkTo } from "../route";
import { type Key, t } from "../strings";

/** The room `POST /api/token` falls back to. */
const DEFAULT_ROOM = "live";

const POINTS: readonly { icon: IconName; title: Key & `home.${string}`; text: Key & `home.${string}` }[] = [
  { icon: "play", title: "home.pointInstall", text: "home.pointInstallText" },
  { icon: "camera", title: "home.pointCodecs", text: "home.pointCodecsText" },
  { icon: "check", title: "home.pointYours", text: "home.pointYoursText" },
];

export function HomePage() {
  const [room, setRoom] = useState(DEFAULT_ROOM);
  const [invalid, setInvalid] = useState(false);
  const id = useId();

  const submit = (event: FormEvent) => {
    event.preventDefault();
    const submitter = (event.nativeEvent as SubmitEvent).submitter;
    const page = submitter?.dataset["page"] === "watch" ? "watch" : "publish";
    if (isRoom(room)) {
      navigate(linkTo(page, room, null, location.search));
    } else {
      setInvalid(true);
      document.getElementById(id)?.focus();
    }
  };

  return (
    <>
      <Header />
      <main className="home">
        <section className="hero">
          <h1 className="hero-title">{t("home.title")}</h1>
          <p className="hero-lead">{t("home.lead")}</p>
        </section>
        <form className="card form home-form" onSubmit={submit} noValidate>
          <div className="field">
            <label htmlFor={id}>{t("home.room")}</label>
            <input
              id={id}
              className="input-large"
              value={room}
              onChange={(event) => {
                setRoom(event.target.value);
                setInvalid(false);
              }}
              dir="ltr"
              maxLength={64}
              autoComplete="off"
              autoCapitalize="off"
              spellCheck={false}
              aria-invalid={invalid}
              aria-describedby={`${id}-hint`}
            />
            <p id={`${id}-hint`} className={invalid ? "field-error" : "hint"} role={invalid ? "alert" : undefined}>
              {t(invalid ? "home.roomInvalid" : "home.roomHint")}
            </p>
          </div>
          <div className="home-actions">
            <button className="button button-primary button-tall" type="submit" data-page="publish">
              <Icon name="broadcast" />
              <span className="button-stack">
                <span>{t("home.publish")}</span>
                <span className="button-sub">{t("home.asTeacher")}</span>
              </span>
            </button>
            <button className="button button-tall" type="submit" data-page="watch">
              <Icon name="play" />
              <span className="button-stack">
                <span>{t("home.watch")}</span>
                <span className="button-sub">{t("home.asStudent")}</span>
              </span>
            </button>
          </div>
        </form>
        <ul className="points">
          {POINTS.map((point) => (
            <li key={point.title}>
              <Icon name={point.icon} />
              <h2>{t(point.title)}</h2>
              <p>{t(point.text)}</p>
            </li>
          ))}
        </ul>
        <footer className="home-footer">
          <a href="/docs">{t("home.docs")}</a>
        </footer>
      </main>
    </>
  );
}
