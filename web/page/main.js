// The page: the lobby, or a room. Which one stands in the address: #group=NAME for a tree, #mesh=ID for a mesh, and
// &token=TOKEN for a server that wants one.

import { Lobby, readLink } from './lobby.js';
import { RoomView } from './room-view.js';
import { oneLine } from './text.js';

const $ = (id) => document.getElementById(id);

let room = null;
let view = null;
/** Counts what the user wanted: what comes late of an old wish is let go. */
let wishes = 0;

const lobby = new Lobby(enter);

/** The address of a WebSocket of this server. A browser can set no headers: a token stands in the address. */
function socket(path) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const token = $('token').value.trim();
  if (token !== '') url.searchParams.set('token', token);
  return url.href;
}

async function open({ kind, name, description, join }) {
  if (kind === 'mesh') {
    const { MeshRoom } = await import('./mesh-room.js');
    return MeshRoom.enter(socket('/p2p'), join ?? null);
  }
  const { TreeRoom } = await import('./tree-room.js');
  return join === undefined ? TreeRoom.create(socket('/alm'), name, description) : TreeRoom.join(socket('/alm'), join);
}

async function enter(wish) {
  const number = ++wishes;
  lobby.say(wish.join === undefined ? 'Making the group …' : 'Joining …', 'busy');
  try {
    const entered = await open(wish);
    if (number !== wishes) return entered.leave();
    lobby.say('');
    room = entered;
    history.replaceState(null, '', room.hash);
    document.title = `${room.name} · Sinnet`;
    swap('room');
    view = new RoomView(room, () => leave());
    $('room-name').focus();
  } catch (error) {
    if (number !== wishes) return;
    history.replaceState(null, '', location.pathname);
    const why = oneLine(error?.message ?? String(error), 300);
    lobby.say(`That did not work: ${why}.`);
    if (why.includes('token')) $('token-field').open = true;
  }
}

function leave() {
  wishes++;
  view?.end();
  room?.leave().catch(() => {});
  view = room = null;
  history.replaceState(null, '', location.pathname);
  document.title = 'Sinnet';
  swap('lobby');
}

function swap(shown) {
  for (const id of ['lobby', 'room']) $(id).hidden = id !== shown;
  scrollTo(0, 0);
}

function follow() {
  const wish = readLink(location.hash);
  if (wish === null) return;
  if (wish.token) $('token').value = wish.token;
  if (room !== null) {
    if (location.hash === room.hash) return;
    view.end();
    room.leave().catch(() => {});
    view = room = null;
    swap('lobby');
  }
  enter(wish);
}

addEventListener('hashchange', follow);
// Says goodbye, so that nobody has to wait for a time-out.
addEventListener('pagehide', () => room?.leave().catch(() => {}));
addEventListener('pageshow', ({ persisted }) => persisted && location.reload());
addEventListener('beforeunload', (event) => { if (view?.isBusy) event.preventDefault(); });
follow();
