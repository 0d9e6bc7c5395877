// The steps, for clients written in TypeScript: the same ones as steps.py, with the same words.

import { createHash } from "node:crypto";
import { closeSync, constants, openSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

const STEP_MS = 20_000;
const HEARD_MS = 5_000;
const POLL_MS = 20;

// The packages are installed beside package.json, which is no parent folder of this file.
export const requirePackage = createRequire(new URL("../node/package.json", import.meta.url));

export function readTarget() {
  const target = JSON.parse(readFileSync(process.argv[2], "utf8"));
  const headers = {};
  if (target.token_file !== undefined) {
    headers.Authorization = `Bearer ${readFileSync(target.token_file, "ascii").trim()}`;
  }
  return { target, headers };
}

/**
 * Do every step and print one JSON line for each.
 *
 * `connect` returns a peer: `era()`, `tools()`, `call(params, {onprogress, signal, timeout})`, `close()`.
 */
export async function run(target, connect) {
  let peer;
  try {
    peer = await withDeadline(connect());
  } catch (error) {
    report("connect", "fail", reason(error), null);
    process.exit(0);
  }
  report("connect", "ok", "", peer.era());
  const steps = { list, call, progress, cancel, large: call };
  for (const [name, step] of Object.entries(steps)) {
    if (name !== "list" && target.steps[name] === undefined) continue;
    try {
      const detail = await withDeadline(step(peer, target.steps[name], target.steps.call));
      report(name, "ok", detail, peer.era());
    } catch (error) {
      report(name, "fail", reason(error), peer.era());
    }
  }
  await withDeadline(peer.close()).catch((error) => {
    report("close", "fail", reason(error), peer.era());
  });
  // A transport that leaves a timer or a socket behind must not keep the program alive.
  process.exit(0);
}

async function list(peer, _wanted, call) {
  const names = await peer.tools();
  if (!names.includes(call.tool)) throw new Error(`no tool ${call.tool} among ${names}`);
  return `${names.length} tools, sha256 ${digest([...names].sort().join("\n"))}`;
}

async function call(peer, wanted) {
  const text = check(wanted, await peer.call(params(wanted), { timeout: STEP_MS }));
  if (wanted.min_characters === undefined) return "";
  return `${[...text].length} characters, sha256 ${digest(text)}`;
}

async function progress(peer, wanted) {
  let count = 0;
  const onprogress = () => {
    count += 1;
  };
  check(wanted, await peer.call(params(wanted), { onprogress, timeout: STEP_MS }));
  if (count === 0) throw new Error("the answer came without any progress");
  return `${count} reports`;
}

async function cancel(peer, wanted, then) {
  const abort = new AbortController();
  let began;
  const reported = new Promise((resolve) => {
    began = resolve;
  });
  let ended = false;
  const outcome = peer
    .call(params(wanted), { signal: abort.signal, onprogress: began, timeout: STEP_MS })
    .then(
      (answer) => ({ answer }),
      (error) => ({ error }),
    )
    .finally(() => {
      ended = true;
    });
  let writer;
  try {
    if (wanted.pipe === undefined) await Promise.race([reported, outcome]);
    else writer = await openWhenRead(wanted.pipe, () => ended);
    // An error before we cancel is what went wrong, not a cancelled call.
    if (ended) throw new Error(`ended before it was cancelled: ${words(await outcome)}`);
    abort.abort("the test cancels");
    const { answer } = await outcome;
    if (answer !== undefined) throw new Error("answered instead of being cancelled");
    // A call that is let go earlier ends by itself, and then there is nothing to cancel.
    if (wanted.messages !== undefined) await cancelHeard(wanted);
  } finally {
    if (writer !== undefined) closeSync(writer);
  }
  check(then, await peer.call(params(then), { timeout: STEP_MS }));
  return "cancelled in mid-call, the next call answered";
}

// Opening the writing end without waiting fails until somebody reads: then the call is at its server.
async function openWhenRead(pipe, ended) {
  const deadline = Date.now() + STEP_MS;
  while (!ended()) {
    try {
      return openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK);
    } catch (error) {
      if (error.code !== "ENXIO" || Date.now() > deadline) throw error;
    }
    await sleep(POLL_MS);
  }
  return undefined;
}

// Whether it was heard is judged elsewhere; this only waits, and not for ever.
async function cancelHeard({ messages, tool }) {
  const deadline = Date.now() + HEARD_MS;
  while (Date.now() < deadline) {
    const lines = readFileSync(messages, "utf8").split("\n").filter(Boolean);
    const seen = lines.map((line) => JSON.parse(line));
    const calls = seen.filter((each) => each.method === "tools/call" && each.tool === tool);
    const ids = new Set(calls.map((each) => each.id));
    if (seen.some((each) => each.method === "notifications/cancelled" && ids.has(each.id))) return;
    await sleep(POLL_MS);
  }
}

function params(wanted) {
  return { name: wanted.tool, arguments: wanted.arguments };
}

function check(wanted, result) {
  const blocks = result.content.filter((block) => block.type === "text");
  const text = blocks.map((block) => block.text).join("");
  if (result.isError) throw new Error(`${wanted.tool} answered isError: ${text.slice(0, 200)}`);
  if (!text.includes(wanted.expect)) {
    throw new Error(`'${wanted.expect}' is not in the answer: ${text.slice(0, 200)}`);
  }
  if (text.length < (wanted.min_characters ?? 0)) throw new Error(`only ${text.length} characters`);
  return text;
}

function digest(text) {
  return createHash("sha256").update(text, "utf8").digest("hex").slice(0, 12);
}

function words({ answer, error }) {
  return error === undefined ? JSON.stringify(answer).slice(0, 200) : reason(error);
}

function reason(error) {
  const cause = error?.cause === undefined ? "" : ` (${error.cause})`;
  return `${error?.name ?? "Error"}: ${String(error?.message ?? error).slice(0, 300)}${cause}`;
}

function report(step, outcome, detail, era) {
  process.stdout.write(`${JSON.stringify({ step, outcome, detail, era: era ?? null })}\n`);
}

function withDeadline(promise) {
  let timer;
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no end within ${STEP_MS} ms`)), STEP_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
