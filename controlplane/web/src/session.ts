import { listen, type News } from "./news";
import { deleteSession, type Session, sessionLives } from "./signal";

/** A WHIP or WHEP session that the node has answered: its connection, its address, its end. */
export class MediaSession {
  readonly connection: RTCPeerConnection;
  readonly #session: Session;
  readonly #token: string | null;
  #silence: (() => void) | null = null;
  #stopped = false;

  constructor(connection: RTCPeerConnection, session: Session, token: string | null) {
    this.connection = connection;
    this.#session = session;
    this.#token = token;
  }

  /** Hears what the node says of the stream, until the session stops. */
  listen(onNews: (news: News) => void): void {
    if (!this.#stopped && this.#session.events !== null) {
      this.#silence ??= listen(this.#session.events, this.#token, onNews);
    }
  }

  /** Whether the node still knows this session; null when it does not say. */
  async lives(): Promise<boolean | null> {
    return sessionLives(this.#session.resource, this.#token);
  }

  /** Ends the session. Safe to call twice, and while the page is being closed. */
  async stop(): Promise<void> {
    if (this.#stopped) {
      return;
    }
    this.#stopped = true;
    this.#silence?.();
    const ended = deleteSession(this.#session.resource, this.#token);
    this.connection.close();
    await ended;
  }
}
