// The fixture most tests share: one node, one browser, one harness origin.

import { openPerson, serveHarness, startBrowser } from "./browser.js";
import { startNode } from "./node.js";

/** Whether this is the long run with the printed table, or the short one of `make test`. */
export const full = process.env.LECTERN_E2E === "full";

export async function raiseCurtain(options = {}) {
  const node = await startNode(options);
  const [browser, harness] = await Promise.all([startBrowser(), serveHarness()]);
  const people = [];
  let shy = null;
  return {
    node,
    browser,
    harness,

    /**
     * A publisher's or viewer's browser profile with the harness page. A shy one gave no permission to
     * use camera and microphone: its browser then hides the machine's addresses too.
     */
    async person({ isShy = false } = {}) {
      if (isShy) {
        shy ??= await startBrowser({ without: ["--use-fake-ui-for-media-stream"] });
      }
      const person = await openPerson(isShy ? shy : browser, harness.origin);
      people.push(person);
      return person;
    },

    /** Publishes from a new person; resolves when the media path stands. */
    async publish(room, wish = {}) {
      const person = await this.person();
      const token = await node.token({ role: "teacher", room });
      const result = await person.page.evaluate((asked) => window.harness.publish(asked), {
        endpoint: `${node.http}/whip/${room}`,
        token,
        ...wish,
      });
      return { ...person, token, ...result };
    },

    /** Watches, as a new person unless one is given; resolves when the first frame is decoded. */
    async watch(room, { isShy = false, person: given, ...wish } = {}) {
      const person = given ?? (await this.person({ isShy }));
      const token = await node.token({ role: "student", room });
      const result = await person.page.evaluate((asked) => window.harness.watch(asked), {
        endpoint: `${node.http}/whep/${room}`,
        token,
        ...wish,
      });
      return { ...person, token, ...result };
    },

    /** Everybody leaves; the node and the browser stay for the next test. */
    async clear() {
      for (const person of people.splice(0)) {
        await person.page.evaluate(() => window.harness.leave()).catch(() => undefined);
        await person.close();
      }
    },

    async fall() {
      await Promise.all([browser.close(), shy?.close()]);
      harness.close();
      await node.stop();
    },
  };
}
