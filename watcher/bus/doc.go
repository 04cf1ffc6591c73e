// Package bus carries the watcher's events over NATS JetStream, embedded or external, and
// is the only package that knows NATS. docs/events.md describes what it carries to people.
//
// NATS carries triggers and the story. Objects carry state, and the certificates themselves
// are the truth: a caller publishes again what is still so, under the same id, and loses
// nothing when NATS, its store or this process goes away.
package bus
