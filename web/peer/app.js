// The page: what is shown, and what the controls do.

import { Peer } from './peer.js';
import { PROTOCOL, receiveFile, sendFile } from './files.js';
import { connectionFacts } from '../facts.js';
import { size } from '../page/text.js';

const MB = 1_000_000;
const MAX_LOG = 200;
const $ = (id) => document.getElementById(id);

let peer = null;
let echo = null;
let control = null;
/** When the messages were sent whose echo is still to come. */
let waiting = [];

// ---- the connection -------------------------------------------------------------------------------------------------

function connect() {
  peer?.close();
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
  // A server that wants one is opened as /peer.html#token=TOKEN.
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  const query = token ? `?token=${encodeURIComponent(token)}` : '';
  const mine = peer = new Peer(`${scheme}//${location.host}/peer${query}`);
  waiting = [];
  echo = mine.open('echo');
  echo.onmessage = ({ data }) => echoed(data);
  control = mine.open('control', { protocol: 'sinnet-control' });
  control.onmessage = ({ data }) => listen(JSON.parse(data));
  for (const channel of [echo, control]) channel.onopen = channel.onclose = enable;
  mine.addEventListener('state', () => mine === peer && show());
  mine.addEventListener('channel', ({ detail: channel }) => {
    if (channel.protocol === PROTOCOL) receiveFile(channel, addRow('↓'));
    else channel.close();
  });
  show();
}

function show() {
  const { state, reason } = peer;
  $('status').textContent = state;
  $('status').dataset.state = state;
  $('detail').textContent = reason;
  $('reconnect').hidden = state !== 'failed' && state !== 'closed';
  $('hang-up').hidden = !$('reconnect').hidden;
  if (state === 'connected') facts();
  enable();
}

function enable() {
  $('echo-send').disabled = echo?.readyState !== 'open';
  const up = control?.readyState === 'open';
  $('file-send').disabled = !up;
  $('fetch-sample').disabled = !up;
  for (const button of $('remote-files').querySelectorAll('button')) button.disabled = !up;
}

async function facts() {
  if (peer.state !== 'connected') return;
  const known = await connectionFacts(peer.connection);
  $('fact-local').textContent = known.local ?? '–';
  $('fact-remote').textContent = known.remote ?? '–';
  $('fact-dtls').textContent = [known.dtls, known.suite].filter(Boolean).join(', ') || '–';
  $('fact-message').textContent = known.maxMessageSize ? size(known.maxMessageSize) : '–';
  $('fact-setup').textContent = peer.setupTime === null ? '–' : `${peer.setupTime.toFixed(0)} ms`;
  $('fact-moved').textContent = `${size(known.sent)} sent, ${size(known.received)} received`;
}

// ---- echo -----------------------------------------------------------------------------------------------------------

function sendEcho(event) {
  event.preventDefault();
  if (echo?.readyState !== 'open') return;
  const text = $('echo-input').value;
  try {
    echo.send(text);
  } catch (error) {
    log('', `not sent: ${error.message}`, '');
    return;
  }
  waiting.push(performance.now());
  log('sent', `→ ${text}`, '');
  $('echo-input').select();
}

function echoed(data) {
  const sent = waiting.shift();
  const time = sent === undefined ? '' : `${(performance.now() - sent).toFixed(1)} ms`;
  log('received', `← ${typeof data === 'string' ? data : `${data.byteLength} bytes`}`, time);
}

function log(kind, text, time) {
  const line = document.createElement('li');
  line.className = kind;
  for (const [name, content] of [['text', text], ['time', time]]) {
    const span = document.createElement('span');
    span.className = name;
    span.textContent = content;
    line.append(span);
  }
  $('log').append(line);
  while ($('log').childElementCount > MAX_LOG) $('log').firstElementChild.remove();
  line.scrollIntoView({ block: 'nearest' });
}

// ---- files ----------------------------------------------------------------------------------------------------------

/** What the server says on the control channel. */
function listen(message) {
  if (message.error) $('saving').textContent = message.error;
  if (!message.files) return;
  $('saving').textContent = message.saves
    ? 'Files that you send are saved by the server.'
    : 'Files that you send are hashed by the server and then dropped; start it with --save DIR to keep them.';
  $('offered').hidden = message.files.length === 0;
  $('remote-files').replaceChildren(...message.files.map(({ name, size: bytes }) => {
    const item = document.createElement('li');
    item.className = 'row';
    const label = document.createElement('span');
    label.className = 'name';
    label.textContent = name;
    const amount = document.createElement('span');
    amount.className = 'size';
    amount.textContent = size(bytes);
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = 'Fetch';
    button.onclick = () => control.send(JSON.stringify({ get: name }));
    item.append(label, amount, button);
    return item;
  }));
  enable();
}

async function sendFiles() {
  // One after the other: each gets the whole rate.
  for (const file of $('file-input').files) {
    const channel = peer.open('file', { protocol: PROTOCOL });
    await sendFile(channel, file, peer.connection.sctp?.maxMessageSize, addRow('↑'));
  }
}

function fetchSample() {
  const bytes = Math.round(Number($('fetch-size').value) * MB);
  control.send(JSON.stringify({ sample: bytes }));
}

function addRow(direction) {
  const item = $('file-row').content.cloneNode(true).firstElementChild;
  const part = (name) => item.querySelector(`.${name}`);
  part('direction').textContent = direction;
  $('moved').hidden = false;
  $('files').prepend(item);
  let total = 0;
  let started = null;
  return {
    name: (text) => { part('name').textContent = text; },
    size: (bytes) => {
      total = bytes;
      started = performance.now();
      part('size').textContent = size(bytes);
    },
    progress: (bytes) => {
      part('progress').value = total > 0 ? bytes / total : 1;
      const seconds = (performance.now() - started) / 1000;
      if (seconds > 0) part('rate').textContent = `${size(bytes / seconds)}/s`;
    },
    state: (kind, text) => {
      item.dataset.state = kind;
      part('state').textContent = text;
      if (kind !== 'busy') facts();
    },
    hash: (hex) => { part('sha256').textContent = hex; },
    save: (blob, name) => {
      part('download').href = URL.createObjectURL(blob);
      part('download').download = name;
      part('download').hidden = false;
    },
  };
}

$('echo').addEventListener('submit', sendEcho);
$('file-send').addEventListener('click', sendFiles);
$('fetch-sample').addEventListener('click', fetchSample);
$('reconnect').addEventListener('click', connect);
$('hang-up').addEventListener('click', () => peer.close());
// Says goodbye, so that the server does not have to wait for a time-out.
addEventListener('pagehide', () => peer.close());
addEventListener('pageshow', ({ persisted }) => persisted && connect());
setInterval(facts, 2000);
connect();
