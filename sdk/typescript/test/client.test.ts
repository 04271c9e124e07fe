/** Runs against a live mesh with its edge: CHORALE_EDGE=http://127.0.0.1:7480 npm test */

import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { test } from "node:test";

import * as node from "../src/node.js";
import * as web from "../src/web.js";

const edge = process.env["CHORALE_EDGE"];
if (!edge) throw new Error("CHORALE_EDGE must name the edge of a running mesh.");

/** One second of a tone as a WAV file; its pitch makes its bytes, and so its name, its own. */
function tone(hertz: number): Uint8Array<ArrayBuffer> {
  const rate = 44_100;
  const file = new DataView(new ArrayBuffer(44 + 2 * rate));
  const text = (at: number, word: string) =>
    [...word].forEach((letter, index) => file.setUint8(at + index, letter.charCodeAt(0)));
  text(0, "RIFF");
  file.setUint32(4, 36 + 2 * rate, true);
  text(8, "WAVEfmt ");
  file.setUint32(16, 16, true);
  file.setUint16(20, 1, true);
  file.setUint16(22, 1, true);
  file.setUint32(24, rate, true);
  file.setUint32(28, 2 * rate, true);
  file.setUint16(32, 2, true);
  file.setUint16(34, 16, true);
  text(36, "data");
  file.setUint32(40, 2 * rate, true);
  for (let frame = 0; frame < rate; frame++) {
    const sample = 0.5 * Math.sin((2 * Math.PI * hertz * frame) / rate);
    file.setInt16(44 + 2 * frame, Math.round(32_767 * sample), true);
  }
  return new Uint8Array(file.buffer);
}

async function downloaded(chorale: node.Chorale, audio: string): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of chorale.ingest.readBytes({ audio })) pieces.push(piece.data);
  return Buffer.concat(pieces);
}

function digestName(bytes: Uint8Array): string {
  return `audio/${createHash("sha256").update(bytes).digest("hex")}`;
}

test("what is uploaded over gRPC is read back byte for byte", async () => {
  const chorale = node.connect(edge);
  const bytes = tone(440);
  const audio = await node.upload(chorale, bytes, "tone.wav");
  assert.equal(audio.name, digestName(bytes));
  assert.deepEqual(Buffer.from(await downloaded(chorale, audio.name)), Buffer.from(bytes));
});

test("what a browser uploads it reads back over gRPC-Web", async () => {
  const chorale = web.connect(edge);
  const bytes = tone(550);
  const audio = await web.upload(edge, bytes, "tone.wav");
  assert.equal(audio.name, digestName(bytes));
  assert.deepEqual(Buffer.from(await downloaded(chorale, audio.name)), Buffer.from(bytes));
  const { engines } = await chorale.ingest.listEngines({});
  assert.ok(engines.length > 0);
});

for (const [protocol, chorale] of [
  ["gRPC", node.connect(edge)],
  ["gRPC-Web", web.connect(edge)],
] as const) {
  test(`an error over ${protocol} brings its code, its reason and its facts`, async () => {
    const unknown = `audio/${"0".repeat(64)}`;
    const error = await chorale.ingest.getAudio({ name: unknown }).then(
      () => assert.fail("audio that nobody uploaded was found"),
      (reason: unknown) => reason,
    );
    assert.equal(node.ConnectError.from(error).code, node.Code.NotFound);
    assert.equal(node.errorInfo(error)?.reason, "AUDIO_NOT_FOUND");
    assert.equal(node.errorInfo(error)?.domain, "ingest.chorale");
  });

  test(`long work is started, followed and answered over ${protocol}`, async () => {
    const audio = await web.upload(edge, tone(660), "tone.wav");
    const { operations, watching } = chorale.operationsOf("mastering");
    const started = await chorale.mastering.measureLoudness({
      audio: audio.name,
      requestId: randomUUID(),
    });
    const stages: string[] = [];
    for await (const { update } of watching.watchOperation({ name: started.name })) {
      if (update.case === "event") stages.push(update.value.stage);
    }
    assert.equal(stages.at(0), "queued");
    const ended = await operations.getOperation({ name: started.name });
    assert.ok(ended.done);
    assert.equal(ended.result.case, "response");
  });
}
