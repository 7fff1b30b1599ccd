// The certified `oidc-provider` (npm) on loopback, for trying Cardflow's sign-in out: it takes any
// login with any password. usage: node demo_provider.mjs PORT CARDFLOW_URL SECRET_FILE
import { readFileSync } from 'node:fs';
import { Provider } from 'oidc-provider';

const [port, cardflow, secretFile] = process.argv.slice(2);
const person = (login) => ({
  accountId: login,
  claims: async () => ({ sub: login, preferred_username: login, groups: [] }),
});
const provider = new Provider(`http://localhost:${port}`, {
  clients: [{
    client_id: 'cardflow',
    client_secret: readFileSync(secretFile, 'utf8').trim(),
    redirect_uris: [`${cardflow}/sign-in/provider/answer`],
    post_logout_redirect_uris: [`${cardflow}/sign-in`],
    backchannel_logout_uri: `${cardflow}/sign-in/provider/logout`,
    backchannel_logout_session_required: true,
  }],
  findAccount: async (_ctx, login) => person(login),
  claims: { openid: ['sub'], profile: ['preferred_username'], groups: ['groups'] },
  cookies: { keys: [secretFile + Date.now()] },
  pkce: { required: () => true, methods: ['S256'] },
  features: {
    devInteractions: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    backchannelLogout: { enabled: true },
  },
});
provider.listen(Number(port), 'localhost', () => console.log(`provider: http://localhost:${port}`));
