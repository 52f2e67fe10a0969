
# The classifier reads the features of layer CLASS_LAYER.
with torch.no_grad():
    class_logits = CLASS_LOGITS
probabilities = torch.softmax(class_logits[0], 0)
print(model.config.id2label[probabilities.argmax().item()], probabilities.max().item())
