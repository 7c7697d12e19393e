/** Runs every test of a module of the dashboard; `window.results` has what became of them. */

import "./format.js";
import "./series.js";
import "./standing.js";
import "./page.js";
import { run } from "./check.js";

window.results = await run();
