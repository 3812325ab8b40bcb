import { useSyncExternalStore } from "react";

export interface Address {
  path: string;
  fragment: string;
}

const listeners = new Set<() => void>();

function changed(): void {
  for (const listener of listeners) {
    listener();
  }
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  if (listeners.size === 1) {
    addEventListener("popstate", changed);
    addEventListener("hashchange", changed);
  }
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      removeEventListener("popstate", changed);
      removeEventListener("hashchange", changed);
    }
  };
}

/** Where the page is; renders again when it moves. */
export function useAddress(): Address {
  // A string, because the store's value is compared by identity.
  const joined = useSyncExternalStore(subscribe, () => `${location.pathname}#${location.hash}`);
  const cut = joined.indexOf("#");
  return { path: joined.slice(0, cut), fragment: joined.slice(cut + 1) };
}

/** Moves to another page without loading it anew: the click stays a user's gesture for autoplay. */
export function navigate(to: string): void {
  history.pushState(null, "", to);
  scrollTo(0, 0);
  changed();
}

/** Corrects the address of this page, for example to hold a token that was just obtained. */
export function replaceAddress(to: string): void {
  history.replaceState(null, "", to);
  changed();
}
