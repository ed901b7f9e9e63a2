// The settings in their groups, each with its explanation, default and range.
import { useEffect, useState } from "preact/hooks";
import type { Group, Setting } from "../../api/types.ts";
import { changed, modelName, setSetting } from "../../state/draft.ts";
import { messageOf } from "../../state/shell.ts";
import { settingsFor } from "../../state/studio.ts";
import { Notice } from "../../ui/basics.tsx";
import { Icon } from "../../ui/icon.tsx";
import { Presets } from "./presets.tsx";
import { isChanged, nameOf, SettingRow } from "./setting-row.tsx";

/** What is edited elsewhere on the page, or is not for the studio. */
const isShown = ({ path }: Setting) =>
  !["prompts.source_prompt", "prompts.prompt", "source.path", "source.inversion"].includes(path) &&
  !path.startsWith("motion.");

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
