// What became of an attack's connections: counted, and printed as one JSON object when the input of the program ends.
export const tally = { connected: 0, unconnected: {}, ended: {}, streams: {}, sent_bytes: 0 };

export const count = (which, what) => {
  which[what] = (which[what] ?? 0) + 1;
};

/** Says that all have begun, and ends with the input. */
export function underWay() {
  console.log("under way");
  process.stdin.resume().on("end", () => {
    console.log(JSON.stringify(tally));
    process.exit();
  });
}
