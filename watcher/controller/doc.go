// Package controller makes the decisions of the watcher: it maintains a picture of the
// certificates of every node, decides which are due, and runs CertificateRotations, one at a
// time, with the engine of the plugin.
//
// Objects carry the state. The watcher may be killed at any moment: the state of its work is
// in the objects and in the journals of the nodes, and the next leader continues from there.
package controller
