// Package controller is what the watcher does: it keeps a picture of every node's
// certificates, decides what is due, and runs CertificateRotations, one at a time, with
// the engine of the plugin.
//
// Objects carry the state. Whoever does the work may be killed at any moment: what it
// was at is in the objects and in the nodes' journals, and its successor goes on there.
package controller
