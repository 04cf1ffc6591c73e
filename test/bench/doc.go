// Command bench measures, on one lab in one run, the documented way to renew a
// kubeadm cluster's certificates and the ways of this plugin, while clients ask every
// API server; then the costs of single programs; then what the watcher takes for a large
// cluster, and how fast it is. It prints tables, and the aims that
// were met and missed. See "make bench".
package main
