// One setting: its explanation, and the field that changes it.
import { useId, useState } from "preact/hooks";
import type { Setting } from "../../api/types.ts";
import { readValue, writeValue } from "../../logic/request.ts";
import { changed } from "../../state/draft.ts";
import { models } from "../../state/studio.ts";
import { cls, IconButton } from "../../ui/basics.tsx";

/** A setting's name for people: its key, which alone would not say what the model's name is. */
export const nameOf = ({ path, key }: Setting) =>
  path === "model.name" ? "model" : key.replaceAll("_", " ");

/** Whether a setting is other than it would be by itself. */
export const isChanged = ({ path, value }: Setting) =>
  path in changed.value && writeValue(changed.value[path]) !== writeValue(value);

export function SettingRow({
  setting,
  value,
  onChange,
}: {
  setting: Setting;
  value: unknown;
  onChange: (value: unknown) => void;
}) {
  const id = useId();
  const [error, setError] = useState<string | null>(null);
  const isSet = value !== undefined;
  const name = nameOf(setting);
  return (
    <div class={cls("setting", isChanged(setting) && "changed")}>
      <label class="name" for={id}>
        {name}
      </label>
      <div class="row">
        <Control id={id} setting={setting} value={value} onError={setError} onChange={onChange} />
        {isSet ? (
          <IconButton icon="undo" label={`Default of ${name}`} onClick={() => onChange(undefined)} />
        ) : null}
      </div>
      <p class="help" id={`${id}-help`}>
        {error ? <strong>Give {error}. </strong> : null}
        {setting.about}
        {setting.range ? `; ${setting.range}` : ""}. Default: {setting.default || "none"}
        {setting.paper ? `; the paper has ${setting.paper}` : ""}.
      </p>
    </div>
  );
}

function Control({
  id,
  setting,
  value,
  onChange,
  onError,
}: {
  id: string;
  setting: Setting;
  value: unknown;
  onChange: (value: unknown) => void;
  onError: (error: string | null) => void;
}) {
  const help = { id, "aria-describedby": `${id}-help` };
  if (setting.type === "switch") {
    return (
      <label class="check grow">
        <input
          {...help}
          type="checkbox"
          checked={Boolean(value ?? setting.value)}
          onChange={(event) => onChange(event.currentTarget.checked)}
        />
        <span class="muted small">{(value ?? setting.value) ? "on" : "off"}</span>
      </label>
    );
  }
  if (setting.type === "choice" && setting.choices) {
    return (
      <select
        {...help}
        value={writeValue(value)}
        onChange={(event) => onChange(event.currentTarget.value || undefined)}
      >
        <option value="">{writeValue(setting.value) || "default"}</option>
        {setting.choices.map((choice) => (
          <option key={choice} value={choice}>
            {choice}
          </option>
        ))}
      </select>
    );
  }
  const isModel = setting.path === "model.name";
  return (
    <>
      <input
        {...help}
        type="text"
        inputMode={setting.type === "integer" ? "numeric" : setting.type === "number" ? "decimal" : "text"}
        value={writeValue(value)}
        placeholder={
          writeValue(setting.value) || (/^[\w ]{1,16}$/.test(setting.default) ? setting.default : "")
        }
        list={isModel ? `${id}-list` : ""}
        onChange={(event) => {
          const written = event.currentTarget.value;
          if (!written.trim()) {
            onError(null);
            onChange(undefined);
            return;
          }
          const read = readValue(setting.type, written);
          if ("error" in read) {
            onError(read.error);
            event.currentTarget.setAttribute("aria-invalid", "true");
          } else {
            onError(null);
            event.currentTarget.removeAttribute("aria-invalid");
            onChange(read.value);
          }
        }}
      />
      {isModel ? (
        <datalist id={`${id}-list`}>
          {models.value.map((model) => (
            <option key={model.name} value={model.name} />
          ))}
        </datalist>
      ) : null}
    </>
  );
}
