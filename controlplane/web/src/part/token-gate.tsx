import { type FormEvent, type ReactNode, useEffect, useId, useState } from "react";
import { replaceAddress } from "../navigate";
import { linkTo, tokenFromPaste } from "../route";
import { t } from "../strings";
import { isLoopback, openToken } from "../token";
import { Header } from "./header";

interface Props {
  page: "publish" | "watch";
  room: string;
  token: string | null;
  children: (token: string) => ReactNode;
}

/**
 * Lets through who has a token. Who has none gets one where the node hands them out (on this machine
 * with `make run`), and is asked for one everywhere else.
 */
export function TokenGate({ page, room, token, children }: Props) {
  const [asking, setAsking] = useState(!isLoopback(location.hostname));

  useEffect(() => {
    if (token !== null || asking) {
      return undefined;
    }
    let wanted = true;
    openToken(room, page === "publish" ? "teacher" : "student")
      .catch(() => null)
      .then((granted) => {
        if (!wanted) {
          return;
        }
        if (granted === null) {
          setAsking(true);
        } else {
          replaceAddress(linkTo(page, room, granted, location.search));
        }
      });
    return () => {
      wanted = false;
    };
  }, [asking, page, room, token]);

  if (token !== null) {
    return children(token);
  }
  return (
    <>
      <Header room={room} />
      <main className="narrow">
        {asking ? <TokenForm page={page} room={room} /> : <p role="status">{t("token.looking")}</p>}
      </main>
    </>
  );
}

function TokenForm({ page, room }: { page: "publish" | "watch"; room: string }) {
  const [pasted, setPasted] = useState("");
  const [invalid, setInvalid] = useState(false);
  const id = useId();
  const role = page === "publish" ? "teacher" : "student";

  const submit = (event: FormEvent) => {
    event.preventDefault();
    const token = tokenFromPaste(pasted);
    if (token === null) {
      setInvalid(true);
    } else {
      replaceAddress(linkTo(page, room, token, location.search));
    }
  };

  return (
    <form className="card form" onSubmit={submit} noValidate>
      <h1 className="card-title">{t("token.title")}</h1>
      <p className="muted">{t("token.text")}</p>
      <div className="field">
        <label htmlFor={id}>{t("token.label")}</label>
        <input
          id={id}
          value={pasted}
          onChange={(event) => {
            setPasted(event.target.value);
            setInvalid(false);
          }}
          dir="ltr"
          autoComplete="off"
          autoCapitalize="off"
          spellCheck={false}
          aria-invalid={invalid}
          aria-describedby={invalid ? `${id}-invalid` : undefined}
        />
        {invalid && (
          <p id={`${id}-invalid`} className="field-error" role="alert">
            {t("token.invalid")}
          </p>
        )}
      </div>
      <button className="button button-primary" type="submit">
        {t("token.use")}
      </button>
      <p className="hint">
        <Command text={t("token.operator", { command: "\n" })} command={`lectern token --role ${role} --room ${room}`} />
      </p>
    </form>
  );
}

/** A sentence with a command in it; the newline marks the command's place. */
export function Command({ text, command }: { text: string; command: string }) {
  const [before, after] = text.split("\n");
  return (
    <>
      {before}
      <code dir="ltr">{command}</code>
      {after}
    </>
  );
}
