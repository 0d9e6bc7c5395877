// A real OpenID provider on loopback: node oidc_provider.mjs PORT
//
// Its access tokens are JWTs for the resource that was asked for. Anybody logs in with any password;
// a name like "ada+ops" is the user ada in the group ops. POST /rotate takes new signing keys.

import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";

const require = createRequire(new URL("../node/package.json", import.meta.url));
const { Provider } = await import(require.resolve("oidc-provider"));

const port = Number(process.argv[2]);
// The relay as a client of its own users' provider: where they come back to.
const RELAY_SECRET = "s3cret:of+the/relay";
const RELAY_CALLBACKS = process.argv.slice(3);
if (!RELAY_CALLBACKS.length) RELAY_CALLBACKS.push("https://relay.example.com/oauth/oidc/callback");
const issuer = `http://127.0.0.1:${port}`;

function key() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), use: "sig", alg: "RS256", kid: randomUUID() };
}

function make(keys) {
  return new Provider(issuer, {
    jwks: { keys },
    clients: [
      {
        client_id: "desk",
        redirect_uris: ["http://127.0.0.1:9/callback"],
        token_endpoint_auth_method: "none",
        application_type: "native",
        grant_types: ["authorization_code", "refresh_token"],
      },
      {
        client_id: "relay",
        client_secret: RELAY_SECRET,
        redirect_uris: RELAY_CALLBACKS,
        grant_types: ["authorization_code"],
      },
    ],
    scopes: ["openid", "offline_access", "mcp"],
    claims: { openid: ["sub", "groups"], profile: ["name"] },
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    features: {
      devInteractions: { enabled: true },
      registration: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => undefined,
        useGrantedResource: () => true,
        getResourceServerInfo: (_context, resource) => ({
          scope: "mcp",
          audience: resource,
          accessTokenFormat: "jwt",
          accessTokenTTL: 600,
          jwt: { sign: { alg: "RS256" } },
        }),
      },
    },
    extraTokenClaims: ({ oidc }, token) => ({
      // A refreshed token keeps the time of the login it came from.
      auth_time: (oidc.entities.AuthorizationCode ?? oidc.entities.RefreshToken)?.authTime,
      groups: (token.accountId ?? "").split("+").slice(1),
      email: "shared@example.com",
    }),
    findAccount: (_context, id) => ({ accountId: id, 
      claims: () => ({ sub: id, name: `Name of ${id}`, groups: id.split("+").slice(1) }),
    }),
  });
}

let keys = [key()];
let provider = make(keys);
const server = createServer((request, response) => {
  if (request.method === "POST" && request.url === "/rotate") {
    keys = [key()];
    provider = make(keys);
    response.end("rotated");
    return;
  }
  provider.callback()(request, response);
});
server.listen(port, "127.0.0.1", () => process.stdout.write(`${issuer}\n`));
