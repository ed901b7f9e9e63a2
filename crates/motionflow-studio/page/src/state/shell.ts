// What belongs to the page itself: the view that is shown, the theme, messages.
import { computed, signal } from "@preact/signals";
import { ApiError } from "../api/client.ts";

/** The parts of the address after `#/`, decoded: `#/results/a%2Fb` is `["results", "a/b"]`. */
const hash = signal(location.hash);
addEventListener("hashchange", () => {
  hash.value = location.hash;
});

export const route = computed(() => {
  const parts = hash.value.replace(/^#\/?/, "").split("/").filter(Boolean);
  return parts.map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
});

export const href = (...parts: string[]) => `#/${parts.map(encodeURIComponent).join("/")}`;

export function go(...parts: string[]): void {
  location.hash = href(...parts);
}

export type Theme = "system" | "light" | "dark";

const dark = matchMedia("(prefers-color-scheme: dark)");
const stored = localStorage.getItem("theme");

export const theme = signal<Theme>(stored === "light" || stored === "dark" ? stored : "system");

/** Shows the theme, now and whenever the system's changes. */
export function followTheme(): void {
  const show = () => {
    const isDark = theme.value === "dark" || (theme.value === "system" && dark.matches);
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
  };
  theme.subscribe((value) => {
    localStorage.setItem("theme", value);
    show();
  });
  dark.addEventListener("change", show);
}

export interface Toast {
  readonly id: number;
  readonly kind: "good" | "bad";
  readonly text: string;
  readonly action?: { readonly label: string; readonly run: () => void };
}

export const toasts = signal<readonly Toast[]>([]);
let lastToast = 0;

export function toast(kind: Toast["kind"], text: string, action?: Toast["action"]): void {
  const id = ++lastToast;
  toasts.value = [...toasts.value.slice(-3), { id, kind, text, ...(action ? { action } : {}) }];
  setTimeout(() => dismiss(id), kind === "bad" ? 12_000 : 5000);
}

export function dismiss(id: number): void {
  toasts.value = toasts.value.filter((other) => other.id !== id);
}

/** What went wrong, in words. */
export function messageOf(error: unknown): string {
  if (error instanceof ApiError || error instanceof Error) return error.message;
  return String(error);
}

/** Does something, and tells what went wrong. */
export async function attempt<R>(action: () => Promise<R>): Promise<R | undefined> {
  try {
    return await action();
  } catch (error) {
    toast("bad", messageOf(error));
    return undefined;
  }
}

export const helpShown = signal(false);

/** Does something that gives nothing, and says whether it went well. */
export async function succeeds(action: () => Promise<unknown>): Promise<boolean> {
  const done = await attempt(async () => {
    await action();
    return true;
  });
  return done === true;
}
