import { readdirSync, readFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { pseudoText } from "./pseudo";
import { localeFor, problemKey, setLocale, t } from "./strings";

const sources = readdirSync(new URL(".", import.meta.url), { recursive: true, encoding: "utf8" })
  .filter((name) => /\.tsx?$/.test(name) && !name.endsWith(".test.ts"))
  .map((name) => [name, readFileSync(new URL(name, import.meta.url), "utf8")] as const);

afterEach(() => setLocale(localeFor("")));

describe("the catalogue", () => {
  it("fills in the values a text names", () => {
    expect(t("watch.nextTry", { seconds: 4 })).toBe("Next try in 4 s");
  });

  it("knows a node's problem by its slug, and says so when it does not", () => {
    expect(problemKey("token-expired")).toBe("problem.token-expired");
    expect(problemKey("store-full")).toBeNull();
    expect(problemKey("")).toBeNull();
  });

  it("is where every text between tags comes from", () => {
    const strays = sources
      .filter(([name]) => name.endsWith(".tsx"))
      .flatMap(([name, source]) =>
        [...source.matchAll(/>\s*([A-Za-z][^<>{}=;]*)<\/|>\s*\n\s*([A-Z][a-z]+ [a-z][^<>{}=;()]*)\n/g)].map(
          (match) => `${name}: ${(match[1] ?? match[2] ?? "").trim()}`,
        ),
      );
    expect(strays).toEqual([]);
  });

  it("is where every accessible name comes from", () => {
    const strays = sources.flatMap(([name, source]) =>
      [...source.matchAll(/\b(?:aria-label|title|placeholder|alt)="([^"]*)"/g)].map(
        (match) => `${name}: ${match[1]}`,
      ),
    );
    expect(strays).toEqual([]);
  });

  it("holds no text that nobody shows", () => {
    const catalogue = sources.find(([name]) => name === "strings.ts")?.[1] ?? "";
    const keys = [...catalogue.matchAll(/^ {2}"([\w.-]+)":/gm)].map((match) => match[1] ?? "");
    const users = sources.filter(([name]) => name !== "strings.ts").map(([, source]) => source).join("\n");
    // Keys put together at run time name their stem only.
    const composed = [...users.matchAll(/`([\w.]+)\$\{/g)].map((match) => match[1] ?? "");
    const unused = keys.filter(
      (key) =>
        !users.includes(`"${key}"`) &&
        !key.startsWith("problem.") &&
        !composed.some((stem) => key.startsWith(stem)),
    );
    expect(keys.length).toBeGreaterThan(100);
    expect(unused).toEqual([]);
  });
});

describe("the pseudo-locale", () => {
  it("runs from right to left", () => {
    expect(localeFor("?pseudo").direction).toBe("rtl");
    expect(localeFor("").direction).toBe("ltr");
  });

  it("keeps the values' places", () => {
    setLocale(localeFor("?pseudo"));
    expect(t("watch.nextTry", { seconds: 4 })).toContain(" 4 ");
    expect(t("publish.goLive")).not.toContain("Go");
  });

  it("is longer by a third and turns every word around once", () => {
    expect(pseudoText("Go live")).toBe("\u202eĞó·\u202c \u202elívé··\u202c");
  });
});

it("lays nothing out by left and right", () => {
  const styles = readdirSync(new URL("style/", import.meta.url)).map(
    (name) => [name, readFileSync(new URL(`style/${name}`, import.meta.url), "utf8")] as const,
  );
  const physical =
    /(?<![\w-])(?:(?:margin|padding|border)-(?:left|right|top|bottom)|left|right|top|bottom|width|height|(?:min|max)-(?:width|height))\s*:(?![^;]*\))/;
  const strays = styles.flatMap(([name, source]) =>
    source
      .split("\n")
      .filter((line) => physical.test(line))
      .map((line) => `${name}: ${line.trim()}`),
  );
  expect(strays).toEqual([]);
});
