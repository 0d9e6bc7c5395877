// The TypeScript client, version 2, that logs its user in: node ts_v2.mjs URL

import { execFileSync } from "node:child_process";
import { createServer } from "node:http";

import { requirePackage } from "../peers/steps.mjs";

const { Client, StreamableHTTPClientTransport, UnauthorizedError } = requirePackage(
  "@modelcontextprotocol/client",
);

const url = new URL(process.argv[2]);
let arrived;
const callback = new Promise((resolve) => {
  arrived = resolve;
});
const server = createServer((request, response) => {
  response.end("done");
  const target = new URL(request.url, "http://127.0.0.1");
  if (target.pathname === "/callback") arrived(target.searchParams);
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const redirect = `http://127.0.0.1:${server.address().port}/callback`;

const kept = {};
const provider = {
  redirectUrl: redirect,
  clientMetadata: {
    client_name: "TypeScript client",
    redirect_uris: [redirect],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
  },
  state: () => "state-of-the-ts-client",
  clientInformation: () => kept.client,
  saveClientInformation: (client) => {
    kept.client = client;
  },
  tokens: () => kept.tokens,
  saveTokens: (tokens) => {
    kept.tokens = tokens;
  },
  redirectToAuthorization: (page) => {
    execFileSync(process.env.BROWSER, [page.href]);
  },
  saveCodeVerifier: (verifier) => {
    kept.verifier = verifier;
  },
  codeVerifier: () => kept.verifier,
};

async function connect() {
  const client = new Client(
    { name: "ts-login", version: "1.0.0" },
    { versionNegotiation: { mode: "auto" } },
  );
  const transport = new StreamableHTTPClientTransport(url, { authProvider: provider });
  try {
    await client.connect(transport);
    return client;
  } catch (error) {
    if (!(error instanceof UnauthorizedError) && error?.name !== "UnauthorizedError") throw error;
    await transport.finishAuth(await callback);
    return null;
  }
}

const client = (await connect()) ?? (await connect());
const tools = (await client.listTools()).tools.map((tool) => tool.name);
const answer = await client.callTool({ name: "test_simple_text", arguments: {} });
process.stdout.write(`${JSON.stringify({ tools, failed: answer.isError === true })}\n`);
await client.close();
process.exit(0);
