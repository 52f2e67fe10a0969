
# The classifier reads the features of layer CLASS_LAYER. As in its training it sees a share of the pixels, and
# probabilities are means over five sets of masks; those of `igpt classify` are others at random.
probabilities = 0
for vote in range(5):
    with torch.no_grad():
        out = forward(torch.rand(tokens.shape) < MASK_PROB)
        class_logits = CLASS_LOGITS
    probabilities = probabilities + torch.softmax(class_logits[0], 0) / 5
print(model.config.id2label[probabilities.argmax().item()], probabilities.max().item())
