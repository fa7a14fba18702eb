/**
 * Bounds how often something that may happen at any rate is reported: the first time, then the second, the fourth, the eighth and so on, with
 * how often it has happened.
 */
export function createRareReport<Fact>(report: (fact: Fact, times: number) => void): (fact: Fact) => void {
  let times = 0;
  let next = 1;
  return (fact) => {
    if (++times < next) return;
    next *= 2;
    report(fact, times);
  };
}
