// Package nodeapi is the protocol between a node and the program that rotates its certificates
// from outside: the commands of rotate-certs-node that a pod runs, the orders that it receives,
// and the records that it writes. Both sides import it, and neither imports the other. It holds
// no secret.
//
// An order goes this way, and its answer comes back:
//
//	outside (pkg/cluster)         on the node (pkg/node)
//
//	fleet: Session.Order
//	  kube: exec "order"     -->  process "order": statedir.Rotation.PutOrder
//	                                writes rotations/ID/orders/N-KIND.json
//	                              process "run", the pod's first: rotate.Engine.RunOrders
//	                                is woken by inotify and reads the order,
//	                                carries it out,
//	                                writes records to rotations/ID/journal.jsonl
//	  kube: exec "follow"    <--  process "follow": statedir.FollowJournal
//	fleet: Session.Follow           prints each record as a line of JSON
//
// The connection may break at any place, and any of the processes may be killed. An order
// is carried out once, however often it is delivered (Order.ID), and records are read
// again from the last that was received (Record.Seq).
//
// Where only another node has the key of the CA, that node signs. The new key stays where it
// was made, and the CA's key where it is:
//
//	asking node                     outside                     node with the CA's key
//
//	record CSRNeeded           -->  fleet: is the certificate
//	                                a target of this node?
//	                                Session.Sign           -->  process "sign": issue.SignForNode
//	order Issued               <--                         <--    checks and signs
//
// A node's part of a rotation is in one of these phases (inventory.RotationState):
//
//	           Stage                   Commit                          Finish
//	Staging ----------> Staged ------------------> Committing --------> Committed ----> Finished
//	   |                                               |
//	   | cannot be signed                              | verification fails: the old files are restored
//	   v                                               v
//	Failed                                         RolledBack, or Unknown if neither the old
//	                                               nor the new set could be verified
package nodeapi

// Commands of rotate-certs-node that pods run. cmd/rotate-certs-node implements them, and
// pkg/cluster/kube starts them.
const (
	CommandScan    = "scan"    // prints the node's inventory; the process of a read-only pod
	CommandJournal = "journal" // prints the records of one rotation; the process of a read-only pod
	CommandRun     = "run"     // carries out orders; the first process of a rotation's pod
	CommandOrder   = "order"   // reads one order on standard input and puts it into the inbox
	CommandFollow  = "follow"  // prints records as they are written
	CommandHealth  = "health"  // prints the health of the node's components
	CommandStart   = "start"   // starts "run" in the background, where there is no pod
	CommandEnd     = "end"     // ends that process
	CommandReady   = "ready"   // prints whether the kubelet reports the node as Ready
	CommandSign    = "sign"    // reads a SignRequest on standard input, signs it with the key of a CA on this node, prints a SignAnswer
)

// StateDirectory is where a node keeps journals, orders, staged keys and backups.
const StateDirectory = "/var/lib/rotate-certs"
