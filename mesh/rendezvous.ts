/**
 * Picks an owner for a key by rendezvous hashing: all who see the same members pick the same one, and a member that comes or goes moves
 * only the keys it wins or loses. Returns undefined without members.
 */
export function pickOwner<Id extends string>(key: string, members: readonly Id[]): Id | undefined {
  let owner: Id | undefined;
  let best = -1;
  for (const member of members) {
    const weight = hash(member, hash(key, 0x811c9dc5));
    if (weight > best || (weight === best && owner !== undefined && member < owner)) {
      best = weight;
      owner = member;
    }
  }
  return owner;
}

/** FNV-1a over UTF-16 units with a final mix (murmur3's), as an unsigned 32-bit number. */
function hash(text: string, seed: number): number {
  let state = seed;
  for (let index = 0; index < text.length; index++) state = Math.imul(state ^ text.charCodeAt(index), 0x01000193);
  state ^= state >>> 16;
  state = Math.imul(state, 0x85ebca6b);
  state ^= state >>> 13;
  state = Math.imul(state, 0xc2b2ae35);
  return (state ^ (state >>> 16)) >>> 0;
}
