import "./studio.css";
import { render } from "preact";
import { App } from "./app.tsx";
import { restoreDraft } from "./state/restoring.ts";
import { followTheme } from "./state/shell.ts";
import { connect } from "./state/studio.ts";

followTheme();
connect();
void restoreDraft();
const root = document.getElementById("app");
if (root) render(<App />, root);
