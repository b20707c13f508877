// Package e2e holds the tests of the whole appliance: the image as built, two servers installed from it in the lab, and a client
// on the lab's network, all driven by the lab's own commands as a reader of the README would. It has no code of its own.
//
// ATLAS_LAB_TESTS chooses the lab: "namespace" or "vm"; without it the tests tell that they were not asked for.
package e2e
