// The clip: dropped, chosen or shipped, or none.
import { useEffect, useState } from "preact/hooks";
import { api } from "../../api/client.ts";
import { chooseSource, frames, setSetting, source, sourcePrompt } from "../../state/draft.ts";
import { clips, loadClips, takeClip, uploading } from "../../state/files.ts";
import { succeeds, toast } from "../../state/shell.ts";
import { Confirm, FileButton, IconButton, Spinner } from "../../ui/basics.tsx";

export function ClipChoice() {
  const [isOpen, setOpen] = useState(source.value === null);
  const [isDeleting, setDeleting] = useState(false);
  useEffect(() => setOpen(source.value === null), [source.value]);
  const now = clips.value.find((clip) => clip.ref === source.value);
  const deleteUpload = async () => {
    const ref = source.value;
    if (!ref || !(await succeeds(() => api.deleteUpload(ref)))) return;
    chooseSource(null, null);
    await loadClips();
  };
  if (uploading.value) return <Spinner label={`Reading ${uploading.value}`} />;
  if (!isOpen && source.value) {
    return (
      <div class="row">
        {now ? <img class="thumb" src={now.poster} alt="" /> : null}
        <div class="grow">
          <div class="ellipsis">{now?.name ?? source.value}</div>
          <div class="muted small number">
            {frames.value
              ? `${frames.value.frames} frames, ${frames.value.width}×${frames.value.height}, ${frames.value.fps} a second`
              : ""}
          </div>
          {frames.value?.notices.map((notice) => (
            <div class="muted small" key={notice}>
              {notice}
            </div>
          ))}
        </div>
        <button type="button" onClick={() => setOpen(true)}>
          Change
        </button>
        {source.value.startsWith("upload:") ? (
          <IconButton icon="trash" label="Delete this upload" onClick={() => setDeleting(true)} />
        ) : null}
        {isDeleting ? (
          <Confirm
            title={`Delete ${now?.name ?? "the upload"}`}
            action="Delete"
            onClose={() => setDeleting(false)}
            onConfirm={deleteUpload}
          >
            <p>The copy that the studio has is deleted. Runs that were made with it stay.</p>
          </Confirm>
        ) : null}
      </div>
    );
  }
  return (
    <>
      <div class="drop">
        <p>Drop a video anywhere on this page, or</p>
        <FileButton
          label="Choose a file"
          icon="folder"
          accept="video/*,.gif,.mkv"
          onFiles={([file]) => file && takeClip(file)}
        />
      </div>
      {clips.value.length ? (
        <div class="clips" role="group" aria-label="Clips">
          {clips.value.map((clip) => (
            <button
              type="button"
              key={clip.ref}
              title={clip.source_prompt ?? clip.name}
              aria-pressed={clip.ref === source.value}
              onClick={() => {
                const now = sourcePrompt.value;
                const isOwn = now !== "" && !clips.value.some((other) => other.source_prompt === now);
                chooseSource(clip.ref, clip.source_prompt, isOwn);
                setOpen(false);
              }}
            >
              <img src={clip.poster} alt="" loading="lazy" />
              <span class="name">{clip.name}</span>
            </button>
          ))}
        </div>
      ) : null}
      <button
        type="button"
        class="link small"
        onClick={() => {
          chooseSource(null, null);
          sourcePrompt.value = "";
          setSetting("settings.init", "noise");
          setOpen(true);
          toast("good", "No clip: mark a subject in the new prompt and draw its track");
        }}
      >
        Without a clip: draw the motion
      </button>
    </>
  );
}
