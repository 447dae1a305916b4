// A timer in a worker: browsers don't slow these down when their page is hidden.

let timer;

onmessage = ({ data: wait }) => {
  clearTimeout(timer);
  timer = setTimeout(() => postMessage(null), wait);
};
