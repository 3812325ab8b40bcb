import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// In development the page comes from Vite and everything else from a node on its default address.
const node = "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [react()],
  server: {
    host: "127.0.0.1",
    proxy: Object.fromEntries(["/whip", "/whep", "/api", "/openapi.json"].map((path) => [path, node])),
  },
  build: {
    target: "es2022",
    // The node serves the page under `default-src 'self'`: an asset inlined as a data: address
    // would be blocked.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
    rolldownOptions: { input: { page: "index.html", docs: "docs.html" } },
    // The reference is one library, loaded by nobody who came to watch.
    chunkSizeWarningLimit: 2000,
  },
});
