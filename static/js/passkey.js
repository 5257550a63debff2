// Passkeys: hand the server's question to the browser, and the browser's answer to the form.
// A form says what it wants: data-passkey="create" or "get", and where the question is, either in
// an element (data-options) or at an address that is asked first (data-options-url).
"use strict";

(() => {
  const fromBase64 = (text) => {
    const plain = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(plain, (letter) => letter.charCodeAt(0)).buffer;
  };

  const toBase64 = (buffer) => {
    const letters = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte));
    return btoa(letters.join("")).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  };

  const named = (credentials) =>
    (credentials || []).map((credential) => ({ ...credential, id: fromBase64(credential.id) }));

  const question = (options) => {
    const asked = { ...options.publicKey, challenge: fromBase64(options.publicKey.challenge) };
    if (asked.user) asked.user = { ...asked.user, id: fromBase64(asked.user.id) };
    if (asked.excludeCredentials) asked.excludeCredentials = named(asked.excludeCredentials);
    if (asked.allowCredentials) asked.allowCredentials = named(asked.allowCredentials);
    return { publicKey: asked };
  };

  const answer = (credential) => {
    const response = {};
    for (const part of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (credential.response[part]) response[part] = toBase64(credential.response[part]);
    }
    if (credential.response.getTransports) response.transports = credential.response.getTransports();
    return JSON.stringify({
      id: credential.id,
      rawId: toBase64(credential.rawId),
      type: credential.type,
      response,
      clientExtensionResults: credential.getClientExtensionResults(),
    });
  };

  const readOptions = async (form) => {
    if (form.dataset.optionsUrl) {
      const reply = await fetch(form.dataset.optionsUrl, { headers: { Accept: "application/json" } });
      if (!reply.ok) throw new Error("no question");
      return (await reply.json()).request_options;
    }
    const written = JSON.parse(document.getElementById(form.dataset.options).textContent);
    return written.request_options || written.creation_options;
  };

  // A passkey that signs in alone has to be found without a name, and has to know its owner.
  const forSigningInAlone = (options, alone) => ({
    ...options,
    publicKey: {
      ...options.publicKey,
      authenticatorSelection: {
        ...options.publicKey.authenticatorSelection,
        residentKey: alone ? "required" : "discouraged",
        requireResidentKey: alone,
        userVerification: alone ? "required" : "preferred",
      },
    },
  });

  const create = async (form) => {
    const alone = form.querySelector("[name=passwordless]");
    const options = forSigningInAlone(await readOptions(form), Boolean(alone && alone.checked));
    return navigator.credentials.create(question(options));
  };

  const get = async (form) => navigator.credentials.get(question(await readOptions(form)));

  const FAULTS = {
    InvalidStateError: "This device has a passkey for this account already.",
    NotAllowedError: "Nothing was chosen, or it took too long. Try again.",
    SecurityError: "Passkeys work only at the service's own name, over a secure connection.",
  };

  const show = (form, error) => {
    const place = form.querySelector(".passkey-fault");
    place.textContent = FAULTS[error.name] || "This did not work. Try again, or take another way.";
    place.hidden = false;
  };

  const run = async (form) => {
    const button = form.querySelector("button");
    button.disabled = true;
    form.querySelector(".passkey-fault").hidden = true;
    try {
      const credential = await (form.dataset.passkey === "create" ? create(form) : get(form));
      form.querySelector("[name=credential]").value = answer(credential);
      form.submit();
    } catch (error) {
      show(form, error);
      button.disabled = false;
    }
  };

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    const usable = Boolean(window.PublicKeyCredential);
    form.hidden = form.classList.contains("needs-js") && !usable;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      run(form);
    });
  }
})();
