import { readFileSync } from "node:fs";
import { Validator } from "@seriousme/openapi-schema-validator";
import { describe, expect, it } from "vitest";

const read = (): Record<string, unknown> =>
  JSON.parse(readFileSync(new URL("./testing/openapi.json", import.meta.url), "utf8"));

describe("the node's description of itself", () => {
  it("is an OpenAPI 3.1 document", async () => {
    const validator = new Validator();
    const result = await validator.validate(read());
    expect(result.errors).toBeUndefined();
    expect(result.valid).toBe(true);
    expect(validator.version).toBe("3.1");
  });

  it("would not pass with a mistake in it", async () => {
    const broken = read();
    broken["paths"] = { "/x": { get: { responses: { "200": {} }, parameters: [{ name: "y" }] } } };
    const result = await new Validator().validate(broken);
    expect(result.valid).toBe(false);
  });
});
