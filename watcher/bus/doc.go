// Package bus carries the events of the watcher over NATS JetStream, embedded or external. No
// other package uses NATS. docs/events.md describes the events for users.
//
// NATS carries requests and the event history. The state is in objects, and in the
// certificates. While the cause of an event remains, its publisher publishes it again under
// the same id, so that nothing is lost if NATS, its store or this process ends.
package bus
