import { useEffect, useId, useRef, useState } from "react";
import { linkTo } from "../route";
import { t } from "../strings";
import { isLoopback, openToken } from "../token";
import { Icon } from "./icon";
import { Command } from "./token-gate";

/** How viewers get in: a ready link where the node hands out tokens, else how to make one. */
export function Invite({ room }: { room: string }) {
  const [link, setLink] = useState<string | null>(null);
  const [copied, setCopied] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  const id = useId();

  useEffect(() => {
    if (!isLoopback(location.hostname)) {
      return undefined;
    }
    let wanted = true;
    openToken(room, "student")
      .catch(() => null)
      .then((token) => {
        if (wanted && token !== null) {
          setLink(location.origin + linkTo("watch", room, token));
        }
      });
    return () => {
      wanted = false;
    };
  }, [room]);

  const copy = async () => {
    input.current?.select();
    try {
      await navigator.clipboard.writeText(link ?? "");
      setCopied(true);
      setTimeout(() => setCopied(false), 2_000);
    } catch {
      // The text stays selected: the user copies it by hand.
    }
  };

  return (
    <section className="card" aria-labelledby={`${id}-title`}>
      <h2 className="card-title" id={`${id}-title`}>
        {t("publish.invite")}
      </h2>
      {link === null ? (
        <p className="hint">
          <Command
            text={t("publish.inviteClosed", { command: "\n" })}
            command={`lectern token --role student --room ${room}`}
          />
        </p>
      ) : (
        <>
          <div className="field-row">
            <input
              ref={input}
              readOnly
              dir="ltr"
              value={link}
              aria-label={t("publish.inviteLink")}
              onFocus={(event) => event.target.select()}
            />
            <button type="button" className="button" onClick={() => void copy()}>
              <Icon name={copied ? "check" : "copy"} />
              <span aria-live="polite">{t(copied ? "publish.copied" : "publish.copy")}</span>
            </button>
          </div>
          <p className="hint">{t("publish.inviteOpen")}</p>
        </>
      )}
    </section>
  );
}
