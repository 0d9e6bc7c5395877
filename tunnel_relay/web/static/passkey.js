// Asks the browser for a passkey or for its signature, puts the answer into the hidden fields of the
// form, and sends the form as any other is sent.
"use strict";
(() => {
  const bytes = (text) =>
    Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (each) => each.charCodeAt(0));
  const text = (data) =>
    btoa(String.fromCharCode(...new Uint8Array(data)))
      .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const named = (ids) =>
    ids.split(" ").filter(Boolean).map((id) => ({ type: "public-key", id: bytes(id) }));
  const TIMEOUT = 120000;

  const asks = {
    add: async (form) => {
      const { challenge, user, handle, exclude } = form.dataset;
      const made = await navigator.credentials.create({
        publicKey: {
          challenge: bytes(challenge),
          rp: { name: "MCP tunnel" },
          user: { id: bytes(handle), name: user, displayName: user },
          pubKeyCredParams: [-7, -8].map((alg) => ({ type: "public-key", alg })),
          authenticatorSelection: { userVerification: "required", residentKey: "preferred" },
          attestation: "none",
          excludeCredentials: named(exclude),
          timeout: TIMEOUT,
        },
      });
      return {
        authenticator_data: text(made.response.getAuthenticatorData()),
        client_data: text(made.response.clientDataJSON),
      };
    },
    sign: async (form) => {
      const { challenge, credentials } = form.dataset;
      const made = await navigator.credentials.get({
        publicKey: {
          challenge: bytes(challenge),
          allowCredentials: named(credentials),
          userVerification: "required",
          timeout: TIMEOUT,
        },
      });
      return {
        credential: text(made.rawId),
        authenticator_data: text(made.response.authenticatorData),
        client_data: text(made.response.clientDataJSON),
        signature: text(made.response.signature),
      };
    },
  };

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    const problem = form.querySelector(".problem");
    const button = form.querySelector("button");
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      button.disabled = true;
      problem.hidden = true;
      try {
        const made = await asks[form.dataset.passkey](form);
        for (const [name, value] of Object.entries(made)) form.elements[name].value = value;
        form.submit();
      } catch (error) {
        problem.textContent = `Not done: ${error.message || error.name || error}`;
        problem.hidden = false;
        button.disabled = false;
        button.focus();
      }
    });
  }
})();
