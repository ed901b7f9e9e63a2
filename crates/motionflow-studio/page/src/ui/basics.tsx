// Small parts that every view uses.
import type { ButtonHTMLAttributes, ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { parsePrompt } from "../logic/prompt.ts";
import { Icon, type IconName } from "./icon.tsx";

export const cls = (...names: (string | false | null | undefined)[]) => names.filter(Boolean).join(" ");

export const subjectClass = (index: number) => `subject s${index % 4}`;

/** A button that shows an icon alone. */
export function IconButton({
  icon,
  label,
  keys,
  ...rest
}: { icon: IconName; label: string; keys?: string } & Omit<
  ButtonHTMLAttributes<HTMLButtonElement>,
  "label"
>) {
  const { class: extra, ...others } = rest;
  return (
    <button
      type="button"
      class={cls("icon", extra === undefined ? "quiet" : String(extra))}
      aria-label={label}
      title={keys ? `${label} (${keys})` : label}
      {...(keys ? { "aria-keyshortcuts": keys } : {})}
      {...others}
    >
      <Icon name={icon} />
    </button>
  );
}

/** A link to the view that this one belongs to. */
export function Back({ to, children }: { to: string; children: ComponentChildren }) {
  return (
    <a class="button quiet" href={`#/${to}`}>
      <Icon name="back" />
      {children}
    </a>
  );
}

export function Notice({
  kind,
  children,
}: {
  kind: "info" | "warn" | "bad" | "good";
  children: ComponentChildren;
}) {
  const icon: IconName = kind === "good" ? "check" : kind === "info" ? "info" : "alert";
  return (
    <div class={cls("notice", kind)} {...(kind === "bad" ? { role: "alert" } : {})}>
      <Icon name={icon} />
      <div class="grow">{children}</div>
    </div>
  );
}

export function Spinner({ label }: { label: string }) {
  return (
    <span class="row" role="status">
      <span class="spinner" />
      <span>{label}</span>
    </span>
  );
}

export function Empty({
  icon,
  title,
  children,
}: {
  icon: IconName;
  title: string;
  children?: ComponentChildren;
}) {
  return (
    <div class="empty">
      <Icon name={icon} />
      <h2>{title}</h2>
      {children}
    </div>
  );
}

/** A page whose subject is loading, or cannot be shown because of an error; `to` is where its like are. */
export function NotYet({
  icon,
  title,
  error,
  to,
  label,
}: {
  icon: IconName;
  title: string;
  error: string | null;
  to: string;
  label: string;
}) {
  return (
    <div class="page">
      {error ? (
        <Empty icon={icon} title={title}>
          <p>{error}</p>
          <a class="button" href={`#/${to}`}>
            {label}
          </a>
        </Empty>
      ) : (
        <Spinner label="Loading" />
      )}
    </div>
  );
}

/** A prompt with its subjects in their colours. */
export function PromptText({ prompt }: { prompt: string }) {
  const { text, subjects } = parsePrompt(prompt);
  const parts: ComponentChildren[] = [];
  let at = 0;
  subjects.forEach(({ start, end }, i) => {
    parts.push(text.slice(at, start), <mark class={subjectClass(i)}>{text.slice(start, end)}</mark>);
    at = end;
  });
  parts.push(text.slice(at));
  return <span class="prompt">{parts}</span>;
}

export function Progress({ part, label }: { part: number; label: string }) {
  const percent = Math.round(100 * Math.min(1, Math.max(0, part)));
  return (
    <div
      class="progress"
      role="progressbar"
      aria-label={label}
      aria-valuenow={percent}
      aria-valuemin={0}
      aria-valuemax={100}
    >
      <div style={{ width: `${percent}%` }} />
    </div>
  );
}

/** A dialog that is open for as long as it is there. */
export function Dialog({
  title,
  onClose,
  wide,
  children,
}: {
  title: string;
  onClose: () => void;
  wide?: boolean;
  children: ComponentChildren;
}) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = ref.current;
    dialog?.showModal();
    const content = dialog?.querySelectorAll<HTMLElement>(
      ":is(input, select, textarea):not([hidden]), footer button",
    );
    content?.[0]?.focus();
    return () => dialog?.close();
  }, []);
  return (
    <dialog
      ref={ref}
      class={cls(wide && "wide")}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onKeyDown={(event) => event.stopPropagation()}
    >
      <div class="inner">
        <header>
          <h2 id={id} class="grow">
            {title}
          </h2>
          <IconButton icon="x" label="Close" onClick={onClose} />
        </header>
        {children}
      </div>
    </dialog>
  );
}

/** Asks before something that cannot be undone. */
export function Confirm({
  title,
  children,
  action,
  onConfirm,
  onClose,
}: {
  title: string;
  children: ComponentChildren;
  action: string;
  onConfirm: () => void;
  onClose: () => void;
}) {
  return (
    <Dialog title={title} onClose={onClose}>
      <div>{children}</div>
      <footer>
        <button type="button" onClick={onClose}>
          Keep
        </button>
        <button
          type="button"
          class="danger"
          onClick={() => {
            onClose();
            onConfirm();
          }}
        >
          {action}
        </button>
      </footer>
    </Dialog>
  );
}

/** A button that opens a list of actions. Arrows go through them, Escape closes it. */
export function Menu({
  label,
  icon = "more",
  text,
  up,
  children,
  button = "quiet",
}: {
  label: string;
  icon?: IconName;
  text?: string;
  up?: boolean;
  children: ComponentChildren;
  button?: string;
}) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const items = () => [
    ...(root.current?.querySelectorAll<HTMLElement>(".items :is(button, a):not(:disabled)") ?? []),
  ];
  useEffect(() => {
    if (!open) return;
    items()[0]?.focus();
    const outside = (event: Event) => {
      if (!root.current?.contains(event.target as Node)) setOpen(false);
    };
    addEventListener("pointerdown", outside);
    return () => removeEventListener("pointerdown", outside);
  }, [open]);
  const close = () => {
    setOpen(false);
    root.current?.querySelector<HTMLElement>(":scope > button")?.focus();
  };
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: it takes the keys of the buttons in it
    <div
      class="menu"
      ref={root}
      onKeyDown={(event) => {
        if (!open) return;
        const list = items();
        const at = list.indexOf(document.activeElement as HTMLElement);
        const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
        if (step) list[(at + step + list.length) % list.length]?.focus();
        else if (event.key === "Escape") close();
        else if (event.key === "Tab") setOpen(false);
        else return;
        if (event.key !== "Tab") event.preventDefault();
        event.stopPropagation();
      }}
    >
      <button
        type="button"
        class={cls(button, !text && "icon")}
        aria-haspopup="true"
        aria-expanded={open}
        aria-label={label}
        title={label}
        onClick={() => setOpen(!open)}
      >
        {text ? <span>{text}</span> : null}
        <Icon name={icon} />
      </button>
      {open ? (
        // biome-ignore lint/a11y/useKeyWithClickEvents: the buttons in it turn keys into clicks
        <div class={cls("items", up && "up")} role="group" aria-label={label} onClick={close}>
          {children}
        </div>
      ) : null}
    </div>
  );
}

/** One of a few, as buttons in a row. */
export function Segmented<V extends string>({
  label,
  value,
  options,
  onChange,
}: {
  label: string;
  value: V;
  options: readonly (readonly [V, string])[];
  onChange: (value: V) => void;
}) {
  return (
    <div class="segmented" role="group" aria-label={label}>
      {options.map(([option, text]) => (
        <button type="button" key={option} aria-pressed={option === value} onClick={() => onChange(option)}>
          {text}
        </button>
      ))}
    </div>
  );
}

/** Runs `action` when nothing has changed for a while; what was begun before is aborted. */
export function useSettled(
  action: (signal: AbortSignal) => Promise<void>,
  wait: number,
  deps: readonly unknown[],
) {
  useEffect(() => {
    const controller = new AbortController();
    const timer = setTimeout(() => {
      action(controller.signal).catch((error: unknown) => {
        if (!controller.signal.aborted) throw error;
      });
    }, wait);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, deps);
}

/** Hands the page's keys to the handler of the last rendering, unless a dialog is open. A key that it took does nothing else. */
export function useKeys(handler: (event: KeyboardEvent) => boolean) {
  const latest = useRef(handler);
  latest.current = handler;
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (!document.querySelector("dialog[open]") && latest.current(event)) event.preventDefault();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}

/** Lets a person keep a file. */
export function saveFile(name: string, contents: string, type: string): void {
  const address = URL.createObjectURL(new Blob([contents], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

/** A button that opens the system's choice of files. */
export function FileButton({
  accept,
  label,
  icon,
  onFiles,
  multiple,
  class: extra,
}: {
  accept?: string;
  label: string;
  icon?: IconName;
  onFiles: (files: File[]) => void;
  multiple?: boolean;
  class?: string;
}) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <button type="button" class={extra ?? ""} onClick={() => input.current?.click()}>
        {icon ? <Icon name={icon} /> : null}
        {label}
      </button>
      <input
        ref={input}
        type="file"
        hidden
        aria-label={label}
        {...(accept ? { accept } : {})}
        multiple={multiple ?? false}
        onChange={(event) => {
          const files = [...(event.currentTarget.files ?? [])];
          event.currentTarget.value = "";
          if (files.length) onFiles(files);
        }}
      />
    </>
  );
}

/** Whether keys are being typed into a field, so that they are no shortcuts. */
export function isTyping(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement | null;
  if (!target) return false;
  const isField =
    target instanceof HTMLInputElement && !["checkbox", "radio", "range", "button"].includes(target.type);
  return (
    isField ||
    target instanceof HTMLTextAreaElement ||
    target instanceof HTMLSelectElement ||
    target.isContentEditable
  );
}
