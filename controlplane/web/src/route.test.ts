import { describe, expect, it } from "vitest";
import { retryDelayMs } from "./backoff";
import { clock } from "./format";
import { linkTo, parseRoute, tokenFrom, tokenFromPaste } from "./route";
import { isLoopback } from "./token";

describe("addresses", () => {
  it.each([
    ["/", { page: "home" }],
    ["/publish/math-7", { page: "publish", room: "math-7" }],
    ["/watch/math_7/", { page: "watch", room: "math_7" }],
    ["/watch", { page: "unknown" }],
    ["/watch/a%20b", { page: "unknown" }],
    [`/watch/${"a".repeat(65)}`, { page: "unknown" }],
    ["/watch/math-7/more", { page: "unknown" }],
    ["/elsewhere/math-7", { page: "unknown" }],
  ])("%s", (path, route) => {
    expect(parseRoute(path)).toEqual(route);
  });

  it("carry the token where no server sees it", () => {
    expect(linkTo("watch", "math-7", "a.b.c")).toBe("/watch/math-7#token=a.b.c");
    expect(linkTo("publish", "math-7", null, "?pseudo")).toBe("/publish/math-7?pseudo");
    expect(tokenFrom("#token=a.b.c")).toBe("a.b.c");
    expect(tokenFrom("")).toBeNull();
    expect(tokenFrom("#token=")).toBeNull();
  });

  it("find the token in whatever was pasted", () => {
    expect(tokenFromPaste(" a.b.c\n")).toBe("a.b.c");
    expect(tokenFromPaste("https://school.example/watch/math-7#token=a.b.c")).toBe("a.b.c");
    expect(tokenFromPaste("https://school.example/watch/math-7")).toBeNull();
    expect(tokenFromPaste("")).toBeNull();
  });
});

it("asks for free tokens on this machine only", () => {
  expect(["localhost", "127.0.0.1", "127.1.2.3", "[::1]", "node.localhost"].every(isLoopback)).toBe(true);
  expect(["localhost.example.com", "127.0.0.1.example.com", "10.0.0.1", "school.example"].some(isLoopback)).toBe(false);
});

describe("waiting between attempts", () => {
  it("grows, and stays short enough for the start of a class", () => {
    const delays = [1, 2, 3, 10, 1_000].map((attempt) => retryDelayMs(attempt, null, 0));
    expect(delays).toEqual([1_000, 1_500, 2_250, 8_000, 8_000]);
  });

  it("never undercuts the node", () => {
    expect(retryDelayMs(1, 2, 0)).toBe(2_000);
    expect(retryDelayMs(1, 30, 0.999)).toBeGreaterThanOrEqual(30_000);
  });

  it("spreads a class over a quarter of the time", () => {
    expect(retryDelayMs(1, 2, 0.5)).toBe(2_250);
  });
});

it.each([
  [0, "0:00"],
  [61_000, "1:01"],
  [3_600_000, "1:00:00"],
  [-5, "0:00"],
])("shows %i ms as %s", (ms, shown) => {
  expect(clock(ms)).toBe(shown);
});
