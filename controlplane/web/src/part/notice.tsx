import type { ReactNode } from "react";
import { Icon } from "./icon";

/** Something went otherwise than the user wanted: what, and the way out. Read out at once. */
export function Notice(props: { title?: string; text: string; children?: ReactNode }) {
  return (
    <div className="notice" role="alert">
      <Icon name="warning" />
      <div className="notice-body">
        {props.title !== undefined && <p className="notice-title">{props.title}</p>}
        <p>{withCode(props.text)}</p>
        {props.children !== undefined && <div className="notice-actions">{props.children}</div>}
      </div>
    </div>
  );
}

/** The node marks names and values with backticks: they are set as code, and never turned around. */
function withCode(text: string): ReactNode {
  return text.split("`").map((part, index) =>
    index % 2 === 1 ? (
      <code key={index} dir="ltr">
        {part}
      </code>
    ) : (
      part
    ),
  );
}
