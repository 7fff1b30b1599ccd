// One function per way in which a page can try to reach a program on the machine that shows it.
// `at` is host:port; every probe carries its own name, so a listener can tell which one came.
const url = (scheme, at, name) => `${scheme}://${at}/${name}`;
const put = (tag, changes) => {
  const element = document.createElement(tag);
  Object.assign(element, changes);
  document.body.append(element);
  return element;
};
const send = (at, name, options) => fetch(url("http", at, name), options).catch(() => {});
const form = (at, name, method, enctype) => {
  put("iframe", { name });
  put("form", { action: url("http", at, name), method, enctype, target: name }).submit();
};
const rtc = (server) => {
  const peer = new RTCPeerConnection({ iceServers: [server] });
  peer.createDataChannel("x");
  peer.createOffer().then((offer) => peer.setLocalDescription(offer));
};
const host = (name) => (at, probe) => send(`${name}:${at.split(":").pop()}`, probe, { mode: "no-cors" });

window.probes = {
  "fetch": (at, name) => send(at, name, {}),
  "fetch without CORS": (at, name) => send(at, name, { mode: "no-cors" }),
  "fetch with credentials": (at, name) => send(at, name, { mode: "no-cors", credentials: "include" }),
  "fetch JSON, preflighted": (at, name) => send(at, name, { method: "POST", body: "{}", headers: { "Content-Type": "application/json" } }),
  "fetch text, not preflighted": (at, name) => send(at, name, { method: "POST", body: "{}", mode: "no-cors" }),
  "fetch that outlives the page": (at, name) => send(at, name, { mode: "no-cors", keepalive: true }),
  "fetch by PUT": (at, name) => send(at, name, { method: "PUT" }),
  "XMLHttpRequest": (at, name) => { const r = new XMLHttpRequest(); r.open("GET", url("http", at, name)); r.send(); },
  "beacon": (at, name) => navigator.sendBeacon(url("http", at, name), "x"),
  "image": (at, name) => put("img", { src: url("http", at, name) }),
  "script": (at, name) => put("script", { src: url("http", at, name) }),
  "module script": (at, name) => put("script", { type: "module", src: url("http", at, name) }),
  "style sheet": (at, name) => put("link", { rel: "stylesheet", href: url("http", at, name) }),
  "module preload": (at, name) => put("link", { rel: "modulepreload", href: url("http", at, name) }),
  "prefetch": (at, name) => put("link", { rel: "prefetch", href: url("http", at, name) }),
  "preload": (at, name) => put("link", { rel: "preload", as: "image", href: url("http", at, name) }),
  "ping of a link": (at, name) => put("a", { href: "#", ping: url("http", at, name) }).click(),
  "frame": (at, name) => put("iframe", { src: url("http", at, name) }),
  "object": (at, name) => put("object", { data: url("http", at, name) }),
  "embed": (at, name) => put("embed", { src: url("http", at, name) }),
  "video": (at, name) => put("video", { src: url("http", at, name), preload: "auto" }),
  "audio": (at, name) => put("audio", { src: url("http", at, name), preload: "auto" }),
  "font": (at, name) => new FontFace("x", `url(${url("http", at, name)})`).load().catch(() => {}),
  "CSS image": (at, name) => { put("p", { textContent: "x" }).style.backgroundImage = `url(${url("http", at, name)})`; },
  "SVG image": (at, name) => { put("div", { innerHTML: `<svg><image href="${url("http", at, name)}" width="9" height="9"/></svg>` }); },
  "form by GET": (at, name) => form(at, name, "get", ""),
  "form by POST": (at, name) => form(at, name, "post", "text/plain"),
  "pop-up": (at, name) => window.open(url("http", at, name)),
  "refresh of a frame": (at, name) => put("iframe", { srcdoc: `<meta http-equiv="refresh" content="0;url=${url("http", at, name)}">` }),
  "worker": (at, name) => new Worker(URL.createObjectURL(new Blob([`fetch("${url("http", at, name)}", {mode: "no-cors"})`]))),
  "event source": (at, name) => new EventSource(url("http", at, name)),
  "web socket": (at, name) => new WebSocket(url("ws", at, name)),
  "secure web socket": (at, name) => new WebSocket(url("wss", at, name)),
  "HTTPS": (at, name) => fetch(url("https", at, name), { mode: "no-cors" }).catch(() => {}),
  "WebTransport (QUIC)": (at, name) => new WebTransport(url("https", at, name)).ready.catch(() => {}),
  "WebRTC by STUN": (at) => rtc({ urls: `stun:${at}` }),
  "WebRTC by TURN over TCP": (at) => rtc({ urls: `turn:${at}?transport=tcp`, username: "x", credential: "x" }),
  "localhost": host("localhost"),
  "a name under localhost": host("agent.localhost"),
  "localhost with a dot": host("localhost."),
  "IPv6": host("[::1]"),
  "IPv4 in IPv6": host("[::ffff:127.0.0.1]"),
  "0.0.0.0": host("0.0.0.0"),
  "another loopback address": host("127.0.0.2"),
  "a short address": host("127.1"),
  "a decimal address": host("2130706433"),
  "a hexadecimal address": host("0x7f000001"),
  "an octal address": host("0177.0.0.1"),
  "a scheme of the agent's": () => put("iframe", { src: "cardflow:open" }),
  "a scheme for the web": () => put("iframe", { src: "web+cardflow:open" }),
};
