// The client of sticky.py once more, by node's `ws`:
//
//     sticky.js cookie|query URL COUNT
"use strict";

const crypto = require("crypto");
const WebSocket = require("ws");

const [how, url, count] = process.argv.slice(2);

function open(session) {
  return how === "cookie"
    ? new WebSocket(url, { headers: { Cookie: `theme=dark; session_id=${session}` } })
    : new WebSocket(`${url}?userId=${session}`);
}

// The server's name, once what was sent in three fragments has come back whole.
function who(session) {
  return new Promise((resolve, reject) => {
    const sent = crypto.randomBytes(70000);
    const socket = open(session);
    let name = null;
    socket.on("error", reject);
    socket.on("message", (message) => {
      if (name === null) {
        name = message.toString();
        [0, 1, 2].forEach((n) => socket.send(sent.subarray(n * 30000, (n + 1) * 30000), { fin: n === 2 }));
      } else if (message.equals(sent)) {
        socket.close(1000);
      } else {
        reject(new Error("another message came back"));
      }
    });
    socket.on("close", (code) => (code === 1000 ? resolve(name) : reject(new Error(`closed: ${code}`))));
  });
}

async function main() {
  let names = "";
  for (let session = 0; session < Number(count); session++) {
    names += await who(session);
  }
  console.log(names);
}

main();
