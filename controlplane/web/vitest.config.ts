import { defineConfig } from "vitest/config";

// The modules under test are pure or take their browser parts as arguments: no page is simulated.
export default defineConfig({
  test: { environment: "node", include: ["src/**/*.test.ts"] },
});
