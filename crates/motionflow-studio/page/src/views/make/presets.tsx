// Presets: settings files that the server keeps.
import { useEffect, useId, useState } from "preact/hooks";
import { api } from "../../api/client.ts";
import type { Preset } from "../../api/types.ts";
import { changed } from "../../state/draft.ts";
import { takeSettings } from "../../state/files.ts";
import { takeRequest } from "../../state/restoring.ts";
import { buildRequest } from "../../state/saving.ts";
import { attempt, succeeds, toast } from "../../state/shell.ts";
import { Dialog, FileButton, IconButton, Menu, saveFile } from "../../ui/basics.tsx";
import { Icon } from "../../ui/icon.tsx";

export function Presets() {
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
