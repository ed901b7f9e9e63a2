// What else is in the queue of many machines: its workers, and the jobs of others.
import { useEffect, useState } from "preact/hooks";
import { api } from "../../api/client.ts";
import type { Cluster as Told } from "../../api/types.ts";
import { since } from "../../logic/format.ts";

const EVERY = 3000;

export function Cluster() {
  const [told, setTold] = useState<Told | null>(null);
  useEffect(() => {
    let timer = 0;
    let gone = false;
    const look = async () => {
      // What is in the way of the queue is told with the jobs.
      const found = await api.cluster().catch(() => null);
      if (gone) return;
      if (found) setTold(found);
      if (found?.is_there !== false) timer = window.setTimeout(look, EVERY);
    };
    look();
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, []);
  if (!told?.is_there) return null;
  const counts = Object.entries(told.states).map(([state, count]) => `${count} ${state}`);
  return (
    <section class="card padded cluster" aria-labelledby="cluster">
      <h2 id="cluster">All machines</h2>
      <p class="muted">
        {counts.join(", ") || "No jobs"}; {told.workers.length} worker{told.workers.length === 1 ? "" : "s"}
      </p>
      {told.workers.length ? (
        <ul>
          {told.workers.map((worker) => (
            <li key={worker.name}>
              {worker.name}: {worker.job ?? "waits"}
              {worker.leaves.map((what) => (
                <div class="muted" key={what}>
                  leaves {what}
                </div>
              ))}
            </li>
          ))}
        </ul>
      ) : (
        <p>
          No worker has been there in the last minute: start one with <code>motionflow worker</code>.
        </p>
      )}
      {told.others.length ? (
        <div class="table-wrap">
          <table>
            <caption>Jobs of others</caption>
            <thead>
              <tr>
                <th scope="col">Job</th>
                <th scope="col">State</th>
                <th scope="col">Worker</th>
                <th scope="col">Added</th>
              </tr>
            </thead>
            <tbody>
              {told.others.map((job) => (
                <tr key={job.id} title={job.error ?? ""}>
                  <td>{job.name}</td>
                  <td>{job.state}</td>
                  <td>{job.worker ?? ""}</td>
                  <td>{since(job.created)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : null}
    </section>
  );
}
