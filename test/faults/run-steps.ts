import { FAULTS, type Fault, type FaultScene } from './faults.ts';
import { untilServed } from './fleet.ts';
import type { Random } from './random.ts';
import type { Tally } from './traffic.ts';
import { pause } from './waiting.ts';

/** The models that clients ask all the time. */
export const SERVED = ['line', 'half_plus_two', 'turns', 'hazard', 'spare'] as const;

/** Versions of `line` that may answer whatever else happens: swaps go on during a soak. */
export interface StepContext {
  readonly versions?: readonly number[];
}

/** Lets one fault happen under traffic, heals the fleet and lets it settle. Throws when the fault's own promise did not hold. */
export async function runFault(fault: Fault, scene: FaultScene, context: StepContext = {}): Promise<void> {
  scene.traffic.step(fault.name, { ...context, ...fault.rules });
  await scene.traffic.answers(50);
  await fault.act(scene);
  await recovered(scene);
}

/** Two different faults, the second while the first is under way. */
export async function runCombination(index: number, scene: FaultScene): Promise<void> {
  const pair = pickPair(scene.random);
  const rules = {
    mayReconnect: pair.some(({ rules: own }) => own?.mayReconnect === true),
    ...(pair.some(({ rules: own }) => own?.patienceMs !== undefined) ? { patienceMs: 2000 } : {}),
  };
  const delayMs = scene.random.below(1500);
  scene.traffic.step(`${index}. ${pair.map(({ name }) => name).join(` + ${delayMs} ms later `)}`, rules);
  await scene.traffic.answers(50);
  await Promise.all(pair.map(async (fault, position) => pause(position * delayMs).then(() => fault.act(scene))));
  await recovered(scene);
}

function pickPair(random: Random): readonly [Fault, Fault] {
  const some = FAULTS.filter(({ combines }) => combines);
  const first = random.pick(some);
  return [first, random.pick(some.filter((one) => one !== first))];
}

async function recovered({ fleet, traffic, settleMs }: FaultScene): Promise<void> {
  await fleet.heal();
  await untilServed(fleet, SERVED);
  await pause(settleMs);
  await traffic.answers(50);
}

/** Why a step is not as DESIGN §4 promises; undefined when it is. */
export function broken({ step, wrong, failed, refused, answered }: Tally): string | undefined {
  if (wrong > 0) return `${step}: ${wrong} wrong`;
  if (failed > 0) return `${step}: ${failed} failed`;
  if (refused > 0) return `${step}: ${refused} refused although capacity remained`;
  return answered === 0 ? `${step}: nothing was answered` : undefined;
}
