// The settings in their groups, each with its explanation, default and range.
import { useEffect, useId, useState } from "preact/hooks";
import { api } from "../api/client.ts";
import type { Group, Preset, Setting } from "../api/types.ts";
import { readValue, writeValue } from "../logic/request.ts";
import { buildRequest, changed, modelName, setSetting, takeRequest } from "../state/draft.ts";
import { takeSettings } from "../state/files.ts";
import { attempt, messageOf, succeeds, toast } from "../state/shell.ts";
import { models, settingsFor } from "../state/studio.ts";
import { cls, Dialog, FileButton, IconButton, Menu, Notice, saveFile } from "../ui/basics.tsx";
import { Icon } from "../ui/icon.tsx";

/** What is edited elsewhere on the page, or is not for the studio. */
const isShown = ({ path }: Setting) =>
  !["prompts.source_prompt", "prompts.prompt", "source.path", "source.inversion"].includes(path) &&
  !path.startsWith("motion.");

/** A setting's name for people: its key, which alone would not say what the model's name is. */
const nameOf = ({ path, key }: Setting) => (path === "model.name" ? "model" : key.replaceAll("_", " "));

/** Whether a setting is other than it would be by itself. */
const isChanged = ({ path, value }: Setting) =>
  path in changed.value && writeValue(changed.value[path]) !== writeValue(value);

export function Settings() {
  const [groups, setGroups] = useState<readonly Group[]>([]);
  const [error, setError] = useState<string | null>(null);
  const [search, setSearch] = useState("");
  useEffect(() => {
    settingsFor(modelName.value).then(
      (found) => {
        setGroups(found);
        setError(null);
      },
      (failed: unknown) => setError(messageOf(failed)),
    );
  }, [modelName.value]);
  const all = groups.map((group) => ({ ...group, settings: group.settings.filter(isShown) }));
  const wanted = search.trim().toLowerCase();
  const found = all.flatMap((group) =>
    group.settings.filter((setting) =>
      `${nameOf(setting)} ${setting.path} ${setting.about}`.toLowerCase().includes(wanted),
    ),
  );
  const common = all.flatMap((group) => group.settings.filter((setting) => setting.common));
  const set = (setting: Setting, value: unknown) => {
    const other = found
      .concat(all.flatMap((group) => group.settings))
      .find(({ path, key }) => setting.conflicts === path || setting.conflicts === key);
    if (other && value !== undefined) setSetting(other.path, undefined);
    setSetting(setting.path, value);
  };
  const list = (settings: readonly Setting[]) =>
    settings.map((setting) => (
      <SettingRow
        key={setting.path}
        setting={setting}
        value={changed.value[setting.path]}
        onChange={(value) => set(setting, value)}
      />
    ));
  return (
    <>
      <div class="row">
        <div class="grow">
          <input
            type="search"
            aria-label="Search the settings"
            placeholder="Search the settings"
            value={search}
            onInput={(event) => setSearch(event.currentTarget.value)}
          />
        </div>
        <Presets />
      </div>
      {error ? <Notice kind="bad">{error}</Notice> : null}
      {wanted ? (
        <div>
          {list(found)}
          {found.length ? null : <p class="muted">No setting has these words.</p>}
        </div>
      ) : (
        <>
          <div>{list(common)}</div>
          <div class="groups">
            {all
              .map((group) => ({ ...group, settings: group.settings.filter((setting) => !setting.common) }))
              .filter((group) => group.settings.length)
              .map((group) => {
                const count = group.settings.filter(isChanged).length;
                return (
                  <details key={group.title}>
                    <summary>
                      <Icon name="chevron" />
                      <span class="grow">{group.title}</span>
                      {count ? <span class="tag running">{count} changed</span> : null}
                    </summary>
                    {list(group.settings)}
                  </details>
                );
              })}
          </div>
        </>
      )}
    </>
  );
}

function SettingRow({
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

function Presets() {
  const [presets, setPresets] = useState<readonly Preset[]>([]);
  const [saving, setSaving] = useState(false);
  const load = async () => setPresets((await attempt(api.presets)) ?? []);
  useEffect(() => {
    void load();
  }, []);
  const apply = async (preset: Preset) => {
    const now = await buildRequest();
    const merged: Record<string, object> = { ...now };
    for (const [table, values] of Object.entries(preset.request))
      merged[table] = { ...merged[table], ...values };
    await attempt(() => takeRequest(merged));
    toast("good", `Preset ${preset.name}`);
  };
  return (
    <>
      <Menu label="Presets" text="Presets" icon="caret" button="">
        {presets.map((preset) => (
          <button type="button" key={preset.name} onClick={() => apply(preset)}>
            {preset.name}
          </button>
        ))}
        <button type="button" onClick={() => setSaving(true)}>
          <Icon name="plus" />
          Save these settings…
        </button>
        <button
          type="button"
          onClick={async () => {
            const text = await attempt(async () => api.writeSettings(await buildRequest()));
            if (text !== undefined) saveFile("settings.toml", text, "application/toml");
          }}
        >
          <Icon name="down" />
          Download as a file
        </button>
        {Object.keys(changed.value).length ? (
          <button
            type="button"
            onClick={() => {
              changed.value = {};
            }}
          >
            <Icon name="undo" />
            All defaults
          </button>
        ) : null}
      </Menu>
      {saving ? (
        <SavePreset
          presets={presets}
          onClose={() => {
            setSaving(false);
            void load();
          }}
        />
      ) : null}
    </>
  );
}

function SavePreset({ presets, onClose }: { presets: readonly Preset[]; onClose: () => void }) {
  const [name, setName] = useState("");
  const [list, setList] = useState(presets);
  const id = useId();
  const save = async () => {
    const { prompts: _, source: __, motion: ___, ...settings } = await buildRequest();
    const saved = await attempt(() => api.savePreset(name.trim(), settings));
    if (!saved) return;
    toast("good", `Preset ${saved.name} saved`);
    onClose();
  };
  return (
    <Dialog title="Presets" onClose={onClose}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (name.trim()) void save();
        }}
      >
        <div class="field">
          <label for={id}>Name</label>
          <input id={id} type="text" value={name} onInput={(event) => setName(event.currentTarget.value)} />
          <span class="hint">
            What differs from the defaults is saved as a settings file; prompts and clip are not.
          </span>
        </div>
        <footer class="row">
          <FileButton
            label="From a file"
            icon="folder"
            accept=".toml"
            onFiles={([file]) => file && takeSettings(file)}
          />
          <span class="grow" />
          <button type="submit" class="primary" disabled={!name.trim()}>
            Save
          </button>
        </footer>
      </form>
      {list.length ? (
        <ul class="stack">
          {list.map((preset) => (
            <li class="row" key={preset.name}>
              <span class="grow">{preset.name}</span>
              <IconButton
                icon="trash"
                label={`Delete the preset ${preset.name}`}
                onClick={async () => {
                  if (await succeeds(() => api.deletePreset(preset.name))) {
                    setList(list.filter((other) => other !== preset));
                  }
                }}
              />
            </li>
          ))}
        </ul>
      ) : null}
    </Dialog>
  );
}
