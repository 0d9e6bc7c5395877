// Node preload: a server that names no address listens on loopback only, not on the whole network.
"use strict";
const net = require("net");
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (first, ...rest) {
  if (typeof first === "number" && typeof rest[0] !== "string") {
    return listen.call(this, first, "127.0.0.1", ...rest);
  }
  return listen.call(this, first, ...rest);
};
