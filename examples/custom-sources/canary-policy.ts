/**
 * A transition policy: at most two versions, the newest and the one before it, which stays as a way back. A third is loaded only after the
 * oldest has gone, and the one before the newest never goes for it.
 */
import type { NextAction } from '../../extend/sources.ts';

const canary: NextAction = (versions) => {
  const here = versions.filter(({ state }) => state === 'loading' || state === 'available' || state === 'unloading');
  const wanted = versions.filter(({ aspired, state }) => aspired && state === 'new');
  const newest = wanted.length > 0 ? Math.max(...wanted.map(({ version }) => version)) : null;
  if (newest !== null && here.length < 2) return { type: 'load', version: newest };
  // The oldest makes room, once another version is there to serve.
  const old = here.filter(({ aspired, state }) => !aspired && state === 'available').map(({ version }) => version);
  const others = here.filter(({ complete, version }) => complete && version !== Math.min(...old));
  const crowded = newest !== null || here.length > 2;
  return crowded && old.length > 0 && others.length > 0 ? { type: 'unload', version: Math.min(...old) } : null;
};

export default canary;
