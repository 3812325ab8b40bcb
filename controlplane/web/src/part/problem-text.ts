import type { Problem } from "../problem";
import { problemKey, t } from "../strings";

export interface Words {
  /** In the page's language, where the catalogue knows the problem. */
  title: string;
  /** The node's own sentence; null where it gave none. */
  detail: string | null;
}

export function problemWords(problem: Problem): Words {
  const key = problemKey(problem.slug);
  return {
    title: key === null ? t("problem.other", { status: problem.status }) : t(key as "problem.kicked"),
    detail: problem.detail === "" ? null : problem.detail,
  };
}
